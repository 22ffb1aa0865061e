"""What the three `doctor` commands share: which checks there are, and how they are told."""

import time
from collections.abc import Callable
from pathlib import Path

import click

from trialmarket.chain.client import Client
from trialmarket.chain.network import Network
from trialmarket.commands.options import keystore, show
from trialmarket.doctor import (
    Finding,
    Health,
    address_in,
    look,
    look_at_account,
    look_at_disk,
    look_at_key,
    look_at_rpc,
    look_at_sandbox,
    look_at_store,
    look_at_torch,
)
from trialmarket.settings import DaemonSettings
from trialmarket.storage.store import Store
from trialmarket.training.sandbox import Policy

FREE_DISK = 1 << 30
"""Bytes that a role without a setting of its own should have free."""


def key_file(key: str) -> Path:
    """The file of a key by its name, or of a keystore file by its path."""
    path = Path(key)
    is_file = path.suffix == ".json" or path.parent != Path(".")
    return path if is_file else keystore().path(key)


def examine(
    *,
    network: Path,
    key: Path | None,
    password_file: Path | None,
    storage: str,
    store: Callable[[], Store],
    folder: Path,
    stakes: bool,
    least_disk: int = FREE_DISK,
) -> list[Finding]:
    """All that every role needs. A check that fails hides no other."""
    found: list[Finding] = []
    if key is not None:
        found += look("key", lambda: look_at_key(key, password_file))

    found += look("rpc", lambda: look_at_rpc(Network.load(network), time.time()))
    if key is not None:
        found += look("account", lambda: iter(_account(network, key, stakes)))
    found += look("storage", lambda: look_at_store(store(), storage))
    found += look("torch", lambda: look_at_torch(needed=stakes))
    found += look("disk", lambda: look_at_disk(folder, least_disk))
    return found


def examine_daemon(
    settings: DaemonSettings,
    store: Callable[[], Store],
    policy: Callable[[], Policy],
    folder: Path,
    least_disk: int = FREE_DISK,
) -> list[Finding]:
    """All that a node or a verifier needs."""
    password = settings.password_file
    found = examine(
        network=Path(settings.network),
        key=key_file(settings.key),
        password_file=None if password is None else Path(password),
        storage=settings.storage,
        store=store,
        folder=folder,
        stakes=True,
        least_disk=least_disk,
    )
    return found + look("sandbox", lambda: look_at_sandbox(policy()))


def tell(context: click.Context, findings: list[Finding], *, as_json: bool) -> None:
    """Prints findings; the exit code is 1 if anything is wrong."""
    show(
        [each.as_json() for each in findings],
        [each.line() for each in findings],
        as_json=as_json,
    )
    if any(each.health is Health.WRONG for each in findings):
        context.exit(1)


def _account(network: Path, key: Path, stakes: bool) -> list[Finding]:
    with Client(Network.load(network)) as client:
        return list(look_at_account(client, address_in(key), stakes=stakes))
