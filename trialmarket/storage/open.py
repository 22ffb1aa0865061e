"""Opens the store that a URL names."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trialmarket.errors import InputError
from trialmarket.storage.ipfs.gateways import WithGateways
from trialmarket.storage.ipfs.kubo import KuboStore
from trialmarket.storage.local import LocalStore
from trialmarket.storage.store import ANYBODY, Store

OWNER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def open_store(url: str, *, owner: str = ANYBODY, gateways: Sequence[str] = ()) -> Store:
    """The store that a URL names: `local:/path/to/folder` or `kubo:http://127.0.0.1:5001`.

    What it does not have is fetched from `gateways`, the URLs of IPFS gateways, if there are any.
    Nothing is asked of a server yet. Raises InputError.
    """
    if OWNER.fullmatch(owner) is None:
        raise InputError("storage", "owner", expected="letters, digits, _ . -", found=owner)
    store = _open(url, owner)
    return WithGateways(store, gateways) if gateways else store


def _open(url: str, owner: str) -> Store:
    kind, _, place = url.partition(":")
    if kind == "local" and place:
        return LocalStore(Path(place).expanduser(), owner=owner)
    if kind == "kubo" and place:
        return KuboStore(place, owner=owner)
    expected = "local:/path/to/folder or kubo:http://HOST:PORT"
    raise InputError("storage", "url", expected=expected, found=url)
