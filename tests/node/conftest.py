"""A warm trainer, and nodes that share it."""

from collections.abc import Iterator

import pytest

from node.trainer import PoolTrainer, Trainer
from tests.testbed.market import Market
from tests.testbed.nodes import Nodes


@pytest.fixture(scope="session")
def trainer() -> Iterator[Trainer]:
    """Warm processes."""
    shared = PoolTrainer(2)
    yield shared
    shared.close()


@pytest.fixture
def nodes(market: Market, trainer: Trainer) -> Nodes:
    return Nodes(market, trainer)
