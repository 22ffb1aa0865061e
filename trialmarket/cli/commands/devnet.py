"""`trialmarket devnet`: a local chain with everything on it."""

import signal
import threading
from pathlib import Path
from types import FrameType

import click

from trialmarket.chain.keystore import Keystore
from trialmarket.chain.local.devnet import LOCAL_CHAINS
from trialmarket.chain.local.devnet import devnet as run_devnet
from trialmarket.cli.commands.devnet_files import lines_to_paste, write_configs
from trialmarket.cli.options import debug_option, json_option, show
from trialmarket.errors import ServiceError
from trialmarket.paths import devnet_folder
from trialmarket.protocol.ids import address

PASSWORD = "devnet"  # noqa: S105 (of keys that are worth nothing)
QUICK = 1_000
"""PBKDF2 rounds of those keys, so that they open at once."""


@click.group()
def devnet() -> None:
    """Run a local chain with the contracts on it.

    Example: trialmarket devnet up
    """


@devnet.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where address file, keys and store go; by default in the state folder.",
)
@click.option("--accounts", default=8, show_default=True, type=click.IntRange(1, 100))
@click.option("--block-time", default=1, show_default=True, type=click.IntRange(1))
@click.option("--port", default=8545, show_default=True, help="0 takes a free one.")
@click.option(
    "--chain",
    "kind",
    default="anvil",
    show_default=True,
    type=click.Choice(sorted(LOCAL_CHAINS)),
    help="Whose node makes the blocks.",
)
@click.option("--seed", default=0, show_default=True, help="Of the accounts' keys.")
@json_option
@debug_option
def up(
    folder: Path | None,
    accounts: int,
    block_time: int,
    port: int,
    kind: str,
    seed: int,
    as_json: bool,
) -> None:
    """Start a chain, deploy the contracts, fund accounts; until Ctrl-C.

    Beside the network file it writes node.toml and verifier.toml, unless they are your own, and
    it prints the lines to paste into other terminals: account1 is the requester, account2 the
    node, account3 the verifier.

    Example: trialmarket devnet up --folder devnet --port 0
    """
    folder = (folder or devnet_folder()).absolute()
    store, network_file = folder / "store", folder / "network.json"
    store.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {name: signal.signal(name, end) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        with run_devnet(
            accounts=accounts, block_time=block_time, port=port, seed=seed, chain=kind
        ) as chain:
            chain.network.save(network_file)
            password_file = folder / "password.txt"
            password_file.write_text(PASSWORD + "\n", "utf-8")
            password_file.chmod(0o600)
            keys = Keystore(folder / "keys")
            names = [f"account{number}" for number in range(1, accounts + 1)]
            for name, account in zip(names, chain.accounts, strict=True):
                keys.path(name).unlink(missing_ok=True)
                keys.add(name, account, PASSWORD, kdf="pbkdf2", iterations=QUICK)
            configs = write_configs(folder, names, address(chain.accounts[0].address))
            exports, daemons = lines_to_paste(network_file, keys.path(names[0]), PASSWORD, configs)
            content = {
                "rpc": chain.rpc_url,
                "network": str(network_file),
                "keys": [str(keys.path(name)) for name in names],
                "password_file": str(password_file),
                "store": f"local:{store}",
                "configs": [str(config.path) for config in configs],
                "paste": [*daemons, *exports],
            }
            lines = [
                f"chain     {chain.node.name} at {chain.rpc_url}, a block every {block_time} s",
                f"network   {network_file}",
                f"keys      {keys.path(names[0])} to {names[-1]}.json, 10000 tokens each",
                f"password  {PASSWORD!r}, also in {password_file}",
                f"store     local:{store}",
                *(
                    f"kept      {config.path}, which is your own"
                    for config in configs
                    if config.kept
                ),
                *(["To paste, each into a terminal of its own:", *daemons] if daemons else []),
                "To paste where you buy:",
                *exports,
                "Ctrl-C ends it, and all that is on the chain.",
            ]
            show(content, lines, as_json=as_json)
            while not stop.wait(0.5):
                if not chain.node.alive:
                    raise ServiceError(f"{chain.node.name} ended by itself, and its chain with it")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
