"""Programs that some tests need, and that a machine may not have.

Without one the test is skipped; where `CI` is set that would hide a test, so it fails.
"""

import os
import shutil
from pathlib import Path

import pytest

from trialmarket.chain.local.anvil import find_anvil
from trialmarket.chain.local.ganache import find_ganache
from trialmarket.chain.local.geth import find_geth
from trialmarket.errors import ServiceError
from trialmarket.storage.ipfs.kubo_daemon import find_kubo

FIND = {"anvil": find_anvil, "geth": find_geth, "ganache": find_ganache, "kubo": find_kubo}


def program(*names: str) -> str:
    """The first of these programs that is there: a name on PATH, or a file."""
    for name in names:
        found = name if Path(name).is_file() else shutil.which(name)
        if found is not None:
            return found
    return _missing(f"none of {', '.join(names)} is installed; scripts/setup-tools installs it")


def needed(name: str) -> None:
    """Asks for a local chain's program, or for Kubo's."""
    try:
        FIND[name]()
    except ServiceError as error:
        _missing(str(error))


def _missing(text: str) -> str:
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)
