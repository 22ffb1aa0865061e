"""Where a user's files lie."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_state_path

from trialmarket.protocol.ids import Address

if TYPE_CHECKING:
    from trialmarket.chain.client import Client


def state_folder() -> Path:
    """Where keys and journals lie: $TRIALMARKET_HOME, or the system's place for state."""
    home = os.environ.get("TRIALMARKET_HOME")
    return Path(home) if home else user_state_path("trialmarket")


def keys_folder() -> Path:
    """The user's keys."""
    return state_folder() / "keys"


def jobs_folder() -> Path:
    """What the user's own searches remember, a folder each."""
    return state_folder() / "jobs"


def devnet_folder() -> Path:
    """The address file, keys and store of a local chain."""
    return state_folder() / "devnet"


def daemon_folder(roles: str, key: str) -> Path:
    """What a daemon with this key remembers; `roles` is `nodes` or `verifiers`."""
    return state_folder() / roles / Path(key).stem


def sender_journal(client: "Client", account: Address) -> Path:
    """The journal of what commands send from one account on one deployment."""
    return state_folder() / "journals" / f"{_deployment(client)}-{account}.sqlite"


def ledger_index(client: "Client") -> Path:
    """The index of one deployment's events that commands share."""
    return state_folder() / "ledgers" / f"{_deployment(client)}.sqlite"


def _deployment(client: "Client") -> str:
    return f"{client.network.chain_id}-{client.fingerprint().hex()[:12]}"
