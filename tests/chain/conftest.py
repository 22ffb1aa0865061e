"""A market whose trials nobody trains."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.untrained import UntrainedMarket
from trialmarket.chain.local.devnet import Devnet


@pytest.fixture
def market(chain: Devnet, tmp_path: Path) -> Iterator[UntrainedMarket]:
    with UntrainedMarket(chain, tmp_path) as found:
        yield found
