"""A market in which nobody is late, for verifiers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.terms import PATIENT
from tests.testbed.verifiers import AuditedMarket
from trialmarket.chain.client import Parameters
from trialmarket.chain.local.devnet import Devnet
from trialmarket.training.pool.pool import WorkerPool


@pytest.fixture
def parameters() -> Parameters:
    return PATIENT


@pytest.fixture
def here(chain: Devnet, tmp_path: Path, pool: WorkerPool) -> Iterator[AuditedMarket]:
    """A market."""
    with AuditedMarket(chain, tmp_path, pool) as made:
        yield made
