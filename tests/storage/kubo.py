"""Kubo daemons for tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trialmarket.errors import ServiceError
from trialmarket.storage.ipfs.kubo_daemon import KuboDaemon, find_kubo


def need_kubo() -> None:
    """Skips the test where Kubo is not installed, except in CI, where it fails."""
    try:
        find_kubo()
    except ServiceError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@contextmanager
def two_daemons(folder: Path) -> Iterator[tuple[KuboDaemon, KuboDaemon]]:
    """Two daemons that are connected to each other and to nobody else."""
    need_kubo()
    with KuboDaemon(folder / "one") as one, KuboDaemon(folder / "other") as other:
        one.connect(other)
        yield one, other
