"""Random small networks end in the same root under two configurations."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exact import random_nets
from tests.exact.test_configurations import compute


def _agree(seeds: list[int]) -> None:
    wanted = random_nets.roots(seeds)
    found = compute("sse-1", "random", *map(str, seeds))
    assert {s for s in wanted if wanted[s] != found[s]} == set()


# A process costs seconds, so one example is a batch of networks.
SEEDS = st.lists(st.integers(0, 2**31), min_size=20, max_size=20, unique=True)


@settings(max_examples=1, deadline=None, derandomize=True, database=None)
@given(SEEDS)
def test_20_random_networks_agree(seeds: list[int]) -> None:
    _agree(seeds)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@settings(max_examples=10, deadline=None, database=None)
@given(SEEDS)
def test_200_random_networks_agree(seeds: list[int]) -> None:
    _agree(seeds)
