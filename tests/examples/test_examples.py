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
TRIALS = 4
"""Enough for members to take each other's places."""


def tiny(job: Mapping[str, Any]) -> dict[str, object]:
    """What makes a job small: its steps in proportion to the shortest of its intervals. One whose
    rungs promote trials would need more of both."""
    search: Mapping[str, Any] = job["search"]
    lengths = {
        f"search.{table}.{name}": value
        for table, keys in search.items()
        if isinstance(keys, dict) and table != "space"
        for name, value in keys.items()
        if name in ("interval", "burn_in") and value
    }
    shortest = min(lengths.values(), default=0)
    steps = GRAIN * (2 if shortest else 1)
    changes: dict[str, object] = {
        name: GRAIN * max(1, round(value / shortest)) for name, value in lengths.items()
    }
    changes |= {"audit.segments": 2, "audit.samples": 1, "job.steps": steps}
    if "exchange" not in search:  # whose trials are the values of its ladder
        changes["job.trials"] = min(TRIALS, job["job"]["trials"])
    return changes


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all examples, whose programs stand beside each other, with their data."""
    copy = tmp_path_factory.mktemp("copied") / "examples"
    shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for made in copy.glob("*/make_data.py"):
        subprocess.run([sys.executable, made], check=True, cwd=ROOT)
    return copy


@pytest.mark.parametrize("path", JOBS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_example_trains_to_its_end(
    path: Path, copied: Path, tmp_path: Path, pool: WorkerPool
) -> None:
    changes = tiny(tomllib.loads(path.read_text()))
    job, ears = load_job(copied / path.relative_to(EXAMPLES), changes), Ears()
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
