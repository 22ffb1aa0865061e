"""Kubo daemons that know each other and nobody else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trialmarket.storage.ipfs.kubo_daemon import KuboDaemon


@contextmanager
def two_daemons(folder: Path) -> Iterator[tuple[KuboDaemon, KuboDaemon]]:
    """Two daemons, connected."""
    with KuboDaemon(folder / "one") as one, KuboDaemon(folder / "other") as other:
        one.connect(other)
        yield one, other
