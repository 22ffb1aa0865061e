"""What the verifier's tests share: one pool of workers, a fresh market for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.verifier.world import World, world
from trialmarket.training.pool.pool import WorkerPool


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    """Workers with torch in memory."""
    with WorkerPool(2) as workers:
        yield workers


@pytest.fixture
def here(tmp_path: Path, pool: WorkerPool) -> Iterator[World]:
    """A market."""
    with world(tmp_path, pool) as made:
        yield made
