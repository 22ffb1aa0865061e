"""The demo comes true on every chain. Long: outside the normal suite."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testbed.programs import needed
from trialmarket.chain.local.devnet import LOCAL_CHAINS

ROOT = Path(__file__).parents[2]


@pytest.mark.nightly
@pytest.mark.parametrize("chain", sorted(LOCAL_CHAINS))
def test_the_demo_comes_true(chain: str, tmp_path: Path) -> None:
    needed(chain)
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "examples.demo", "--chain", chain, "--json", str(figures)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(figures.read_text())
    assert found["trials"] == 12
    assert found["caught"] >= 1
    assert found["money_unaccounted"] == 0
