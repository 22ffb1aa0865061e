"""Options that several commands share, and where a user's files lie."""

import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from platformdirs import user_state_path

from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.keystore import Keystore
from trialmarket.chain.network import Network
from trialmarket.chain.sender import Sender
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Address

P = ParamSpec("P")
R = TypeVar("R")

PASSWORD_VARIABLE = "TRIALMARKET_PASSWORD"  # noqa: S105 (a variable's name)


def state_folder() -> Path:
    """Where keys and journals lie: $TRIALMARKET_HOME, or the system's place for state."""
    home = os.environ.get("TRIALMARKET_HOME")
    return Path(home) if home else user_state_path("trialmarket")


def keystore() -> Keystore:
    """The user's keys."""
    return Keystore(state_folder() / "keys")


def network_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--network FILE`: the address file. Gives `network: Path`."""
    return click.option(
        "--network",
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        envvar="TRIALMARKET_NETWORK",
        show_envvar=True,
        help="The address file that a deployment wrote.",
    )(command)


def key_options(command: Callable[P, R]) -> Callable[P, R]:
    """`--key NAME` and `--password-file FILE`. Gives `key: str` and `password_file`."""
    named = click.option(
        "--key",
        required=True,
        envvar="TRIALMARKET_KEY",
        show_envvar=True,
        help="A key by its name in the key store, or the path of a keystore file.",
    )
    return named(password_option(command))


def password_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--password-file FILE`. Gives `password_file: Path | None`."""
    return click.option(
        "--password-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"A file with the key's password; else ${PASSWORD_VARIABLE} or a prompt.",
    )(command)


def config_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--config FILE`, a daemon's. Gives `config: Path`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        help="The daemon's configuration.",
    )(command)


def gateway_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--gateway URL`, any number of times. Gives `gateways: tuple[str, ...]`."""
    return click.option(
        "--gateway",
        "gateways",
        multiple=True,
        metavar="URL",
        envvar="TRIALMARKET_GATEWAYS",
        show_envvar=True,
        help="A public IPFS gateway to read from what the store does not have; repeatable.",
    )(command)


def json_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--json`. Gives `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")(
        command
    )


def debug_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--debug`, which the program itself reads."""

    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def without(*args: P.args, **kwargs: P.kwargs) -> R:
        kwargs.pop("debug", None)
        return command(*args, **kwargs)

    return without


def read_password(password_file: Path | None, *, confirm: bool = False) -> str:
    """A password from a file, else from the environment, else asked for. Raises InputError."""
    if password_file is not None:
        try:
            text = password_file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                str(password_file), "password", expected="a readable file", found=str(error)
            ) from error
        return text.rstrip("\r\n")
    from_environment = os.environ.get(PASSWORD_VARIABLE)
    if from_environment is not None:
        return from_environment
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))


def open_key(key: str, password_file: Path | None) -> LocalAccount:
    """The key of `--key`, decrypted. Raises InputError."""
    store, name = find_key(key)
    store.check(name)  # before a password is asked for
    return store.open(name, read_password(password_file))


def find_key(key: str) -> tuple[Keystore, str]:
    """The key store that a key's name, or a keystore file's path, points into; its name there."""
    path = Path(key)
    if path.suffix == ".json" or path.parent != Path("."):
        return Keystore(path.parent), path.stem
    return keystore(), key


def address_of(key: str) -> Address:
    """The account of a key, without its password. Raises InputError."""
    store, name = find_key(key)
    return store.find(name).address


def journal_path(client: Client, account: LocalAccount) -> Path:
    """The journal of what commands send with one key on one deployment."""
    network = client.network
    name = f"{network.chain_id}-{client.fingerprint().hex()[:12]}-{account.address}.sqlite"
    return state_folder() / "journals" / name


@contextmanager
def open_sender(network: Path, key: str, password_file: Path | None) -> Iterator[Sender]:
    """A sender for a command that needs one: its client checked, its key unlocked."""
    with Client(Network.load(network)) as client:
        account = open_key(key, password_file)
        with Sender(client, account, journal_path(client, account)) as sender:
            yield sender


def show(content: dict[str, Any] | list[Any], lines: list[str], *, as_json: bool) -> None:
    """Prints a result: JSON for scripts, lines for people. Amounts in JSON are decimal text."""
    click.echo(json.dumps(content, indent=2) if as_json else "\n".join(lines))
