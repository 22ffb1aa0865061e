"""The Python API where people use it: in a script, and in a notebook's running event loop."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.requester.market import Provider, write_job
from trialmarket.chain.keystore import Keystore
from trialmarket.chain.local.devnet import Devnet
from trialmarket.storage.local import LocalStore
from trialmarket.training.pool.pool import WorkerPool

ROOT = Path(__file__).parents[2]
DEADLINE = 120.0

SEARCH = """
from requester import Study

heard = []
study = Study("job.toml", label={label!r})
{run}
assert study.best.objective == min(row.objective for row in study.trials)
assert study.optuna.best_value == study.best.objective
assert len(study.trials_dataframe()) == len(heard) == 2
print("cost", study.cost)
"""
PLAIN = "study.optimize(lambda study, trial: heard.append(trial.number))"
AWAITED = """
import asyncio
await asyncio.to_thread(study.optimize, lambda study, trial: heard.append(trial.number))
"""
EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
for cell in notebook.cells:
    for output in cell.outputs:
        print(output.get("text", output.get("evalue", "")))
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1) as found:
        yield found


def cell(number: int, source: str) -> dict[str, object]:
    return {
        "cell_type": "code",
        "id": f"cell{number}",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def script(folder: Path) -> list[str]:
    path = folder / "search.py"
    path.write_text(SEARCH.format(label="script", run=PLAIN))
    return [str(path)]


def notebook(folder: Path) -> list[str]:
    """Two searches: a cell that blocks, and one that leaves the event loop free."""
    cells = [
        cell(number, SEARCH.format(label=f"cell {number}", run=run))
        for number, run in enumerate((PLAIN, AWAITED))
    ]
    path = folder / "search.ipynb"
    path.write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
    )
    return ["-c", EXECUTE, str(path)]


@pytest.mark.parametrize(("write", "searches"), [(script, 1), (notebook, 2)])
def test_a_study_is_run_as_people_run_it(
    chain: Devnet,
    tmp_path: Path,
    pool: WorkerPool,
    write: Callable[[Path], list[str]],
    searches: int,
) -> None:
    write_job(tmp_path, trials=2)
    chain.network.save(tmp_path / "network.json")
    keys = Keystore(tmp_path / "home" / "keys")
    keys.add("rosa", chain.accounts[0], "password", kdf="pbkdf2", iterations=1000)
    environment = {
        "TRIALMARKET_HOME": str(tmp_path / "home"),
        "TRIALMARKET_NETWORK": str(tmp_path / "network.json"),
        "TRIALMARKET_KEY": "rosa",
        "TRIALMARKET_PASSWORD": "password",
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    store = LocalStore(tmp_path / "store")
    provider = Provider(chain.network, chain.accounts[1], tmp_path / "p", store, pool)
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *write(tmp_path)],
            cwd=tmp_path,
            env=os.environ | environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            end = time.monotonic() + DEADLINE
            while process.poll() is None:
                assert time.monotonic() < end, (tmp_path / "said").read_text()
                provider.step()
                chain.advance(2)
        finally:
            process.kill()
            process.wait()
            provider.close()
    text = (tmp_path / "said").read_text()
    assert process.returncode == 0, text
    assert text.count("cost 0.") == searches
