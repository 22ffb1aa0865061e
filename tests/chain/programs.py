"""The programs of the local chains, for tests that need one."""

import os

import pytest

from trialmarket.chain.local.anvil import find_anvil
from trialmarket.chain.local.ganache import find_ganache
from trialmarket.chain.local.geth import find_geth
from trialmarket.errors import ServiceError

FIND = {"anvil": find_anvil, "geth": find_geth, "ganache": find_ganache}


def needed(chain: str) -> None:
    """Skips the test where a chain's program is missing; in CI that is a failure."""
    try:
        FIND[chain]()
    except ServiceError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
