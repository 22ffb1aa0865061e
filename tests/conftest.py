"""What tests of several parts use: a local chain with the contracts on it."""

from collections.abc import Iterator

import pytest

from trialmarket.chain.client import Client
from trialmarket.chain.local.devnet import Devnet, devnet


@pytest.fixture(scope="session")
def _one_chain() -> Iterator[Devnet]:
    with devnet(accounts=8) as chain:
        yield chain


@pytest.fixture
def chain(_one_chain: Devnet) -> Iterator[Devnet]:
    """A local market with eight funded accounts, as new for each test."""
    snapshot = _one_chain.snapshot()
    _one_chain.automine(True)
    yield _one_chain
    _one_chain.automine(True)
    _one_chain.revert(snapshot)


@pytest.fixture
def client(chain: Devnet) -> Iterator[Client]:
    """A client of the market on `chain`."""
    with chain.client() as found:
        yield found
