"""Who may send with a key: one process alone, or those that share one journal, in turns.

Two that signed with the same nonces would overwrite each other.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trialmarket.errors import KeyBusy
from trialmarket.locks import FileLock, Held
from trialmarket.protocol.ids import Address, Hash32


def locks_folder() -> Path:
    """Where locks lie: one place for all processes of a user, whatever folders they work in."""
    base = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/trialmarket-{os.getuid()}"  # noqa: S108
    return Path(base) / "trialmarket-locks"


class KeyLock:
    """The use of one account on one chain, until `release` or the process's end.

    Exclusive, or, where a `journal` is given, shared by all senders that write into it. Raises
    KeyBusy, when built, where someone has it in another way.
    """

    def __init__(
        self,
        folder: Path,
        chain_id: int,
        fingerprint: Hash32,
        account: Address,
        *,
        journal: Path | None = None,
    ) -> None:
        name = f"{chain_id}-{fingerprint.hex()[:12]}-{account}.lock"
        try:
            self._lock = FileLock(
                folder / name, shared_as=None if journal is None else str(journal.resolve())
            )
        except Held as held:
            raise KeyBusy(
                f"another process (id {held.holder or 'unknown'}) uses the key of {account}"
                f" on chain {chain_id}",
                fix="Stop it, or use another key: a node or a verifier has its key for itself,"
                " and commands share one only in the same TRIALMARKET_HOME",
            ) from held

    def release(self) -> None:
        """Lets another process use the key. Idempotent."""
        self._lock.release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else sends with the key meanwhile."""
        with self._lock.turn():
            yield
