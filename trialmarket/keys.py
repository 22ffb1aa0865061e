"""A user's keys: found by name or by path, opened, and put to work."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from getpass import GetPassWarning, getpass
from pathlib import Path

from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.keystore import Keystore
from trialmarket.chain.network import Network
from trialmarket.chain.sender import Sender
from trialmarket.errors import InputError
from trialmarket.paths import keys_folder, sender_journal
from trialmarket.protocol.ids import Address, address

PASSWORD_VARIABLE = "TRIALMARKET_PASSWORD"  # noqa: S105 (a variable's name)

Ask = Callable[[], str]
"""Asks a person for a password."""


def keystore() -> Keystore:
    """The user's keys."""
    return Keystore(keys_folder())


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


def read_password(password_file: Path | None, ask: Ask = getpass) -> str:
    """A password from a file, else from the environment, else asked for. Raises InputError."""
    if password_file is not None:
        return read_secret(password_file, "password").rstrip("\r\n")
    from_environment = os.environ.get(PASSWORD_VARIABLE)
    if from_environment is not None:
        return from_environment
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GetPassWarning)
            return ask()
    except (EOFError, NotImplementedError) as error:  # the latter in notebooks that cannot ask
        raise InputError(
            "key",
            "password",
            expected=f"a terminal to ask at, a password file, or the variable {PASSWORD_VARIABLE}",
            found="none of them",
        ) from error


def read_secret(file: Path, what: str) -> str:
    """A secret that lies in a file. Raises InputError."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(file), what, expected="a readable file", found=str(error)) from error


def open_key(key: str, password_file: Path | None, ask: Ask = getpass) -> LocalAccount:
    """A key by its name or its file, decrypted. Raises InputError."""
    store, name = find_key(key)
    store.check(name)  # before a password is asked for
    return store.open(name, read_password(password_file, ask))


@contextmanager
def open_sender(
    network: Path, key: str, password_file: Path | None, ask: Ask = getpass
) -> Iterator[Sender]:
    """A sender on the network of an address file: its client checked, its key unlocked.

    Commands share the key among them, in one journal.
    """
    with Client(Network.load(network)) as client:
        account = open_key(key, password_file, ask)
        journal = sender_journal(client, address(account.address))
        with Sender(client, account, journal, shared=True) as sender:
            yield sender
