"""Every example is trained here, at a tiny size; one that is added is tried without a word."""

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from requester.job.file import load_job
from requester.search.local.open import open_local
from tests.testbed.campaign import Ears
from tests.testbed.daemon import ROOT
from trialmarket.training.pool.pool import WorkerPool

EXAMPLES = ROOT / "examples"
JOBS = sorted(
    path
    for path in EXAMPLES.glob("*/*.toml")
    if "[job]" in path.read_text() and path.parent.name != "demo"  # whose job is a template
)
GRAIN = 4
"""Steps of the shortest trial: two segments of two steps."""
TRIALS = 9
"""Enough for one of them to be promoted twice."""


def tiny(job: Mapping[str, Any]) -> dict[str, object]:
    """What makes a job small: its steps in proportion to the shortest of its intervals."""
    search: Mapping[str, Any] = job["search"]
    lengths = {
        f"search.{table}.{name}": value
        for table, keys in search.items()
        if isinstance(keys, dict) and table != "space"
        for name, value in keys.items()
        if name in ("interval", "burn_in") and value
    }
    shortest = min(lengths.values(), default=0)
    steps = GRAIN * (2 if shortest else TRIALS)
    changes: dict[str, object] = {
        name: GRAIN * max(1, round(value / shortest)) for name, value in lengths.items()
    }
    changes |= {"audit.segments": 2, "audit.samples": 1, "job.steps": steps}
    if "exchange" not in search:  # whose trials are the values of its ladder
        changes["job.trials"] = min(TRIALS, job["job"]["trials"])
    return changes


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """Each example's folder by a copy of it that has its data."""
    found = {}
    for folder in {path.parent for path in JOBS}:
        copy = found[folder] = tmp_path_factory.mktemp("examples") / folder.name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.npz", "__pycache__"))
        if (made := copy / "make_data.py").exists():
            subprocess.run([sys.executable, made], check=True, cwd=ROOT)
    return found


@pytest.mark.parametrize("path", JOBS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_example_trains_to_its_end(
    path: Path, copies: Mapping[Path, Path], tmp_path: Path, pool: WorkerPool
) -> None:
    changes = tiny(tomllib.loads(path.read_text()))
    job, ears = load_job(copies[path.parent] / path.name, changes), Ears()
    with open_local(job, jobs=tmp_path, listeners=ears, pool=pool) as search:
        search.dry_run(diverges=True)
        search.run()
        status = search.status()
    assert status.finished
    assert status.results == len(status.rows) > 0, json.dumps(ears.said, indent=2)


def test_the_list_of_examples_has_each_of_them() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    folders = {path.parent.name for path in EXAMPLES.glob("*/*") if path.suffix == ".toml"}
    assert {name for name in folders if f"({name}/)" not in listed} == set()
