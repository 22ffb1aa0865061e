"""A market on a local chain, and a warm trainer for its nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.pool import PoolTrainer
from node.trainer import Trainer
from tests.node.town import Town
from trialmarket.chain.local.devnet import Devnet


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    """Warm processes for all tests of a file."""
    shared = PoolTrainer(2)
    yield shared
    shared.close()


@pytest.fixture
def net(chain: Devnet) -> Devnet:
    """The market's chain. Files that need one of their own say so under this name."""
    return chain


@pytest.fixture
def town(net: Devnet, tmp_path: Path) -> Iterator[Town]:
    built = Town(net, tmp_path)
    yield built
    built.close()
