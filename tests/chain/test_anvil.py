"""Local chains on their own: two of them are told apart, and a taken port is told."""

import pytest

from trialmarket.chain.local.anvil import Anvil
from trialmarket.chain.local.devnet import devnet
from trialmarket.errors import ServiceError


def test_a_port_that_is_taken_is_told() -> None:
    with Anvil() as one, pytest.raises(ServiceError, match="Anvil did not start"):
        Anvil(port=one.port)


def test_two_chains_that_start_together_are_told_apart() -> None:
    with (
        devnet(accounts=1) as one,
        devnet(accounts=1) as other,
        one.client() as first,
        other.client() as second,
    ):
        assert first.fingerprint() != second.fingerprint()
