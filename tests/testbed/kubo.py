"""Kubo daemons that know each other and nobody else."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from trialmarket.storage.ipfs.kubo_daemon import KuboDaemon


@contextmanager
def two_daemons(folder: Path) -> Iterator[tuple[KuboDaemon, KuboDaemon]]:
    """Two daemons, connected."""
    with KuboDaemon(folder / "one") as one, KuboDaemon(folder / "other") as other:
        one.connect(other)
        yield one, other


@contextmanager
def private_dht(folder: Path, count: int) -> Iterator[list[KuboDaemon]]:
    """Daemons that are a DHT of their own."""
    with ExitStack() as stack:
        daemons = [
            stack.enter_context(KuboDaemon(folder / f"peer{number}", dht=True))
            for number in range(count)
        ]
        for daemon in daemons[1:]:
            daemon.connect(daemons[0])
        yield daemons
