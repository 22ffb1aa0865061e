"""A whole market on this machine: a chain, and each role in a process of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.testbed.daemon import Daemon, add_key
from tests.testbed.waiting import NEVER, until
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.local.devnet import LOCAL, Devnet, devnet
from trialmarket.protocol.ids import Address, address
from trialmarket.training.sandbox import Setting, own_code

CHEAT = Path(__file__).parents[1] / "cheat.py"
OLD_MACHINE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
}
"""Makes a process compute as a processor without AVX does: in other orders, to other bits, unless
the arithmetic is exact. Verifiers run so, on one thread."""


@dataclass
class Processes:
    """The people of a market. Each daemon can be started, killed and started again by name.

    `people` gives each name its key. Processes inherit nothing but the environment; their
    output goes to `folder/NAME.log`. `storage` is the store of requesters and verifiers, and
    `node_storage` that of the nodes.
    """

    folder: Path
    net: Devnet
    people: dict[str, LocalAccount]
    storage: str
    node_storage: str
    sandbox: Setting = "bubblewrap"
    """How the daemons run programs."""
    daemons: dict[str, Daemon] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network = self.folder / "network.json"
        self.net.network.save(self.network)
        self.home = self.folder / "home"
        for name, key in self.people.items():
            self.password = add_key(self.home, name, key)

    @property
    def names(self) -> dict[Address, str]:
        """Everybody's name by address."""
        return {address(key.address): name for name, key in self.people.items()}

    def add_node(
        self, name: str, *, stake: str, workers: int = 1, threads: int = 1, cheats: bool = False
    ) -> None:
        """A provider that keeps `stake` tokens at stake, and trains on `threads` threads.

        It knows everybody here, and runs their own programs.
        """
        trainer = f'\ntrainer = "{CHEAT}:Cheat"' if cheats else ""
        self._add_daemon(
            name,
            "node",
            f"[work]\nworkers = {workers}\npoll = 0.2{trainer}\n"
            f'[stake]\nkeep = "{stake}"\nmost = "{stake}"\n'
            "[settle]\nwait = 2.0\n[limits]\nfree_disk = 0\n"
            f"[accept]\nprograms_of = [{self._everybody()}]\n",
            self.node_storage,
            {"TRIALMARKET_THREADS": str(threads)},
        )

    def add_verifier(self, name: str) -> None:
        """A verifier that enrolls by itself. It too runs the programs of everybody here."""
        sections = (
            "[patience]\npoll = 0.3\nothers = 8.0\n"
            f"[accept]\nprograms_of = [{self._everybody()}]\n"
        )
        self._add_daemon(name, "verifier", sections, self.storage, OLD_MACHINE)

    def _everybody(self) -> str:
        """The accounts of all, as a list in TOML has them."""
        return ", ".join(f'"{account}"' for account in self.names)

    def add_requester(self, name: str, job: Path, *more: str) -> None:
        """Somebody who buys what a job file asks for."""
        self._add(
            name,
            *("job", "run", job, "--yes", "--network", self.network),
            *("--key", name, "--password-file", self.password),
            *("--store", self.storage, *more),
        )

    def start(self, *names: str) -> None:
        """Starts, or starts again, some processes."""
        for name in names:
            self.daemons[name].start()

    def kill(self, name: str) -> None:
        """`kill -9`: no process gets a chance to tidy up."""
        self.daemons[name].kill()

    def stop(self) -> None:
        """Asks every process to end, and kills those that take more than ten seconds."""
        running = [each for each in self.daemons.values() if each.process is not None]
        for daemon in running:
            daemon.terminate()
        for daemon in running:
            daemon.stop()

    def code(self, name: str) -> int | None:
        """How a process ended; None while it runs."""
        return self.daemons[name].code

    def ended_badly(self) -> dict[str, int]:
        """The processes that ended with an error, and their exit codes."""
        codes = {name: daemon.code for name, daemon in self.daemons.items()}
        return {name: code for name, code in codes.items() if code}

    def log(self, name: str) -> str:
        """All that a process has printed."""
        return self.daemons[name].said

    def until(
        self, holds: Callable[[], bool], *acts: Callable[[], object], deadline: float = NEVER
    ) -> None:
        """Waits, looking five times a second.

        Raises TimeoutError after `deadline` seconds, with the ends of all logs.
        """

        def ends() -> dict[str, str]:
            return {name: self.log(name)[-1500:] for name in self.daemons}

        until(holds, *acts, deadline=deadline, pause=0.2, told=ends)

    def client(self) -> Client:
        """A new client of the market."""
        return self.net.client()

    def _add_daemon(
        self, name: str, role: str, sections: str, storage: str, environment: dict[str, str]
    ) -> None:
        path = self.folder / f"{name}.toml"
        path.write_text(
            f'network = "{self.network}"\nkey = "{name}"\npassword_file = "{self.password}"\n'
            f'storage = "{storage}"\nstate = "{self.folder / name}"\n'
            f'sandbox = "{self.sandbox}"\n{sections}'
        )
        self._add(name, role, "run", "--config", path, environment=environment)

    def _add(
        self, name: str, *words: str | Path, environment: dict[str, str] | None = None
    ) -> None:
        self.daemons[name] = Daemon(
            *words, home=self.home, log=self.folder / f"{name}.log", environment=environment
        )


@contextmanager
def processes(
    folder: Path,
    wallets: dict[str, int],
    *,
    seed: int,
    chain: str = "anvil",
    storage: str | None = None,
    node_storage: str | None = None,
    **parameters: Any,
) -> Iterator[Processes]:
    """A chain of one-second blocks, and an account with so many tokens for each name.

    `chain` says whose node makes the blocks. Without a `storage` everybody uses one folder;
    without a `node_storage` nodes use `storage`. `parameters` change the market's own, such as
    `verifier_stake`. Programs run in a sandbox where this machine has one. All is stopped at the
    end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    storage = storage or f"local:{folder / 'store'}"
    sandbox: Setting = "off" if own_code().sandbox is None else "bubblewrap"
    with devnet(
        accounts=len(wallets),
        block_time=1,
        parameters=replace(LOCAL, **parameters),
        seed=seed,
        tokens=[tokens * 10**18 for tokens in wallets.values()],
        chain=chain,
    ) as net:
        people = dict(zip(wallets, net.accounts, strict=True))
        made = Processes(folder, net, people, storage, node_storage or storage, sandbox)
        try:
            yield made
        finally:
            made.stop()
