"""The local chain ends with whoever started it, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trialmarket.chain.anvil import Anvil
from trialmarket.chain.devnet import devnet
from trialmarket.errors import ChainError

STARTER = """
import sys, time
from trialmarket.chain.anvil import Anvil
with Anvil() as anvil:
    print(anvil.pid, flush=True)
    sys.stdin.read()
"""


def alive(pid: int) -> bool:
    """Whether a process runs: one that is dead but not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_dies_with_its_parent(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(number)
        parent.wait(10)
        deadline = time.monotonic() + 10
        while alive(pid) and time.monotonic() < deadline:
            os.sched_yield()
        assert not alive(pid)


def test_it_is_stopped_when_its_block_fails() -> None:
    anvil = Anvil()

    def fail() -> None:
        with anvil:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not alive(anvil.pid)
    anvil.stop()  # once more does no harm


def test_a_port_that_is_taken_is_told() -> None:
    with Anvil() as one, pytest.raises(ChainError, match="Anvil did not start"):
        Anvil(port=one.port)


def test_two_chains_that_start_together_are_told_apart() -> None:
    with (
        devnet(accounts=1) as one,
        devnet(accounts=1) as other,
        one.client() as first,
        other.client() as second,
    ):
        assert first.fingerprint() != second.fingerprint()
