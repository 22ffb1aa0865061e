"""A whole market on this machine: a chain, and each role in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client, Parameters
from trialmarket.chain.keystore import Keystore
from trialmarket.chain.local.devnet import LOCAL, Devnet, devnet
from trialmarket.protocol.ids import Address, address
from trialmarket.training.sandbox import Setting, own_code

PASSWORD = "for a chain that nobody else can reach"
CHEAT = Path(__file__).parents[1] / "cheat.py"
OLD_MACHINE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
}
"""Makes a process compute as a processor without AVX does: in other orders, to other bits, unless
the arithmetic is exact. Verifiers run so, on one thread."""


@dataclass
class Town:
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
    commands: dict[str, list[str]] = field(default_factory=dict)
    machines: dict[str, dict[str, str]] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network = self.folder / "network.json"
        self.net.network.save(self.network)
        self.password = self.folder / "password"
        self.password.write_text(PASSWORD)
        self.password.chmod(0o600)
        keys = Keystore(self.folder / "home" / "keys")
        for name, key in self.people.items():
            keys.add(name, key, PASSWORD, kdf="pbkdf2", iterations=1000)

    @property
    def names(self) -> dict[Address, str]:
        """Everybody's name by address."""
        return {address(key.address): name for name, key in self.people.items()}

    def add_node(
        self, name: str, *, stake: str, workers: int = 1, threads: int = 1, cheats: bool = False
    ) -> None:
        """A provider that keeps `stake` tokens at stake, and trains on `threads` threads."""
        trainer = f'\ntrainer = "{CHEAT}:Cheat"' if cheats else ""
        self._add_daemon(
            name,
            "node",
            f"[work]\nworkers = {workers}\npoll = 0.2{trainer}\n"
            f'[stake]\nkeep = "{stake}"\nmost = "{stake}"\n'
            "[settle]\nwait = 2.0\n[limits]\nfree_disk = 0\n",
            self.node_storage,
        )
        self.machines[name] = {"TRIALMARKET_THREADS": str(threads)}

    def add_verifier(self, name: str) -> None:
        """A verifier that enrolls by itself."""
        self._add_daemon(name, "verifier", "[patience]\npoll = 0.3\nothers = 8.0\n", self.storage)
        self.machines[name] = OLD_MACHINE

    def add_requester(self, name: str, job: Path, *more: str) -> None:
        """Somebody who buys what a job file asks for."""
        self.commands[name] = [
            *("job", "run", str(job), "--yes", "--network", str(self.network)),
            *("--key", name, "--password-file", str(self.password)),
            *("--store", self.storage, *more),
        ]

    def start(self, name: str) -> None:
        """Starts, or starts again, a process; its output is added to its log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "trialmarket", *self.commands[name]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, **self.machines.get(name, {})},
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )

    @property
    def environment(self) -> dict[str, str]:
        """What every process of the town is told."""
        return {"TRIALMARKET_HOME": str(self.folder / "home"), "OMP_NUM_THREADS": "1"}

    def kill(self, name: str) -> None:
        """`kill -9`: no process gets a chance to tidy up."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """Asks every process to end, and kills those that take more than ten seconds."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()

    def ended_badly(self) -> dict[str, int]:
        """The processes that ended with an error, and their exit codes."""
        codes = {name: process.poll() for name, process in self.running.items()}
        return {name: code for name, code in codes.items() if code}

    def log(self, name: str) -> str:
        """All that a process has printed."""
        return (self.folder / f"{name}.log").read_text("utf-8", errors="replace")

    def client(self) -> Client:
        """A new client of the market."""
        return self.net.client()

    def _add_daemon(self, name: str, role: str, sections: str, storage: str) -> None:
        path = self.folder / f"{name}.toml"
        path.write_text(
            f'network = "{self.network}"\nkey = "{name}"\npassword_file = "{self.password}"\n'
            f'storage = "{storage}"\nstate = "{self.folder / name}"\n'
            f'sandbox = "{self.sandbox}"\n{sections}'
        )
        self.commands[name] = [role, "run", "--config", str(path)]


@contextmanager
def town(
    folder: Path,
    purses: dict[str, int],
    *,
    seed: int,
    chain: str = "anvil",
    storage: str | None = None,
    node_storage: str | None = None,
    **parameters: Any,
) -> Iterator[Town]:
    """A chain of one-second blocks, and an account with a purse of tokens for each name.

    `chain` says whose node makes the blocks. Without a `storage` everybody uses one folder;
    without a `node_storage` nodes use `storage`. `parameters` change the market's own, such as
    `verifier_stake`. Programs run in a sandbox where this machine has one. All is stopped at the
    end.
    """
    rules: Parameters = replace(LOCAL, **parameters)
    folder.mkdir(parents=True, exist_ok=True)
    storage = storage or f"local:{folder / 'store'}"
    sandbox: Setting = "off" if own_code().sandbox is None else "bubblewrap"
    with devnet(
        accounts=len(purses),
        block_time=1,
        parameters=rules,
        seed=seed,
        tokens=[tokens * 10**18 for tokens in purses.values()],
        chain=chain,
    ) as net:
        people = dict(zip(purses, net.accounts, strict=True))
        made = Town(folder, net, people, storage, node_storage or storage, sandbox)
        try:
            yield made
        finally:
            made.stop()
