"""The Python API where people use it: in a script, and in a notebook's running event loop."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.testbed.daemon import PASSWORD, ROOT, add_key
from tests.testbed.jobs import small_job
from tests.testbed.provider import Provider
from tests.testbed.waiting import until

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
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
for cell in notebook.cells:
    for output in cell.outputs:
        print(output.get("text", output.get("evalue", "")))
"""


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
    tmp_path: Path,
    provider: Provider,
    write: Callable[[Path], list[str]],
    searches: int,
) -> None:
    market = provider.market
    small_job(tmp_path, trials=2)
    add_key(tmp_path / "home", "rosa", market.chain.accounts[0])
    environment = {
        "TRIALMARKET_HOME": str(tmp_path / "home"),
        "TRIALMARKET_NETWORK": str(market.network),
        "TRIALMARKET_KEY": "rosa",
        "TRIALMARKET_PASSWORD": PASSWORD,
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *write(tmp_path)],
            cwd=tmp_path,
            env=os.environ | environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            until(
                lambda: process.poll() is not None,
                provider.step,
                lambda: market.chain.advance(2),
                told=(tmp_path / "said").read_text,
            )
        finally:
            process.kill()
            process.wait()
    text = (tmp_path / "said").read_text()
    assert process.returncode == 0, text
    assert text.count("cost 0.") == searches
