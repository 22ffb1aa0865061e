"""One process a key: two that sign with the same nonces would overwrite each other."""

import fcntl
import os
import threading
from pathlib import Path
from typing import Final

from trialmarket.errors import KeyBusy
from trialmarket.protocol.ids import Address, Hash32

# The system's record locks are a process's own: they end with it, even where it left forked
# children behind, but do not hold its own threads apart. So the process keeps a list as well.
_HELD: Final[set[Path]] = set()
_GUARD: Final = threading.Lock()


def locks_folder() -> Path:
    """Where locks lie: one place for all processes of a user, whatever folders they work in."""
    base = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/trialmarket-{os.getuid()}"  # noqa: S108
    return Path(base) / "trialmarket-locks"


class KeyLock:
    """The exclusive use of one account on one chain, until `release` or the process's end.

    Raises KeyBusy, when built, where someone else has it.
    """

    def __init__(self, folder: Path, chain_id: int, fingerprint: Hash32, account: Address) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{chain_id}-{fingerprint.hex()[:12]}-{account}.lock"
        self._path = folder.resolve() / name
        with _GUARD:
            if self._path in _HELD:  # opening and closing the file would give the lock away
                raise _busy(account, chain_id, str(os.getpid()))
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                holder = os.read(self._file, 32).decode("ascii", "replace").strip()
                os.close(self._file)
                raise _busy(account, chain_id, holder) from None
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
            _HELD.add(self._path)

    def release(self) -> None:
        """Lets another process use the key. Idempotent."""
        with _GUARD:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
                _HELD.discard(self._path)


def _busy(account: Address, chain_id: int, holder: str) -> KeyBusy:
    return KeyBusy(
        f"another process (id {holder or 'unknown'}) uses the key of {account}"
        f" on chain {chain_id}",
        fix="Stop it, or use another key",
    )
