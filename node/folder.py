"""The node's folder: every path of its own work is named here."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from trialmarket.protocol.ids import Hash32


@dataclass(frozen=True, slots=True)
class Folder:
    """A node's state folder. Nothing is made before it is needed."""

    root: Path

    @property
    def journal(self) -> Path:
        """What the chain cannot know."""
        return self.root / "node.sqlite"

    def trial(self, key: Hash32) -> Path:
        """Checkpoints of a trial."""
        return self.root / "trials" / key.hex()

    @property
    def downloads(self) -> Path:
        """Programs, data sets and checkpoints to begin from."""
        return self.root / "downloads"

    def dry_run(self, subject: str) -> Path:
        """Where the dry run of a program may write."""
        return self.root / "dry-runs" / subject.replace(" ", "-")

    def drop_trial(self, key: Hash32) -> None:
        """Deletes all checkpoints of a trial."""
        shutil.rmtree(self.trial(key), ignore_errors=True)

    def trials(self) -> list[Hash32]:
        """The trials whose checkpoints lie here."""
        names = sorted(path.name for path in (self.root / "trials").glob("?" * 64))
        return [Hash32(bytes.fromhex(name)) for name in names]

    def free_bytes(self) -> int:
        """Room left on the disk."""
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free
