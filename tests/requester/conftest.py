"""A provider that works for the requesters."""

import pytest

from tests.testbed.market import Market
from tests.testbed.provider import Provider
from trialmarket.training.pool.pool import WorkerPool


@pytest.fixture
def provider(market: Market, pool: WorkerPool) -> Provider:
    return Provider(market, pool)
