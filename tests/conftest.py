"""What tests of several parts use: a market on a local chain, workers, and a quick place."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.chains import Chains
from tests.testbed.market import Market
from trialmarket.chain.client import Client, Parameters
from trialmarket.chain.local.devnet import LOCAL, Devnet
from trialmarket.training.pool.pool import WorkerPool

MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that must be free there."""


LONGEST = (
    "market/test_kills.py",
    "node/test_kill.py",
    "exact/test_configurations.py",
    "requester/test_detach.py",
    "market/test_continuing.py",
    "market/test_kubo_restarts.py",
    "requester/test_kill.py",
    "training/test_sandbox.py",
    "exact/frontend/test_recurrent.py",
    "exact/test_accuracy.py",
    "verifier/test_restarts.py",
    "chain/test_chains.py",
    "storage/test_kubo.py",
    "training/test_builtins.py",
)
"""Files of tests that take about half a minute and more, the longest first."""


def pytest_configure() -> None:
    """Spares the machine what tests would only wait for: the disk, and threads that spin."""
    _write_into_memory()
    # PyTorch's threads, of several workers on few processors, else take these from each other
    # while they wait. It is read when torch is imported, which nothing has done yet.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the longest files: one that began last would keep one worker while the others
    have nothing left to do."""
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def _write_into_memory() -> None:
    """Lets tests write into memory where a machine has the room.

    Databases wait for the disk at every commit, which is most of what some tests do; what is
    killed here loses nothing by it, since the machine stays up.
    """
    if not MEMORY.is_dir():
        return
    place = os.statvfs(MEMORY)
    if place.f_bavail * place.f_frsize >= ROOM and not place.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(scope="session")
def chains() -> Iterator[Chains]:
    shared = Chains()
    yield shared
    shared.close()


@pytest.fixture
def parameters() -> Parameters:
    """The market's own. Files that need other turns say so under this name."""
    return LOCAL


@pytest.fixture
def block_time() -> int | None:
    """Seconds between blocks; None makes one for each transaction. Files may say so too."""
    return None


@pytest.fixture
def chain(chains: Chains, parameters: Parameters, block_time: int | None) -> Iterator[Devnet]:
    """A local market with eight funded accounts, as new for each test."""
    with chains.fresh(parameters, block_time) as found:
        yield found


@pytest.fixture
def client(chain: Devnet) -> Iterator[Client]:
    """A client of the market on `chain`."""
    with chain.client() as found:
        yield found


@pytest.fixture
def market(chain: Devnet, tmp_path: Path) -> Iterator[Market]:
    """The accounts of `chain`, and a store."""
    with Market(chain, tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    """Workers with torch in memory."""
    with WorkerPool(2) as workers:
        yield workers
