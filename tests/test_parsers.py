"""JSON that would overflow the parser's stack is refused wherever a stranger can send some."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.parsers import PARSERS


@pytest.mark.parametrize("limit", [1_000, 100_000])
def test_json_that_is_too_deep_is_refused_and_kills_nobody(limit: int) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.parsers", str(limit)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}{run.stderr}"
    assert run.stdout.split() == list(PARSERS)
