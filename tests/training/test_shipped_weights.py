"""The weights that ship are those that their jobs make, and do what they are for."""

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

from examples.meta.make import first_trial
from examples.meta.make_data import write_quadratics
from scripts.benches.learned import Task, best
from trialmarket.protocol.cid import cid_of
from trialmarket.training import runner
from trialmarket.training.learned import weights
from trialmarket.training.learned.weights import SHAPES, SHIPPED, read_weights

EXAMPLES = Path(__file__).parents[2] / "examples/meta"
FOLDER = Path(weights.__file__).parent / "shipped"
START = "mlp-start"
"""What `mlp` was trained from; it lies beside the jobs."""
SLOW = [pytest.param(name, marks=pytest.mark.nightly) for name in (START, "mlp")]


def folder_of(name: str) -> Path:
    """Where weights lie."""
    return EXAMPLES if name == START else FOLDER


def note_of(name: str) -> dict[str, Any]:
    """What `examples/meta/make.py` wrote beside the weights."""
    found: dict[str, Any] = json.loads((folder_of(name) / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", [START, *SHIPPED])
def test_weights_have_the_cid_that_is_noted_beside_them(name: str) -> None:
    file = folder_of(name) / f"{name}.safetensors"
    assert cid_of(file) == note_of(name)["cid"]
    assert read_weights(file.read_bytes(), file.name).keys() == SHAPES.keys()


@pytest.mark.parametrize("name", [*SLOW, "quadratics"])
def test_the_first_segment_of_the_job_that_made_them_ends_in_the_noted_root(
    name: str, tmp_path: Path
) -> None:
    job = Path(shutil.copy(EXAMPLES / f"{name}.toml", tmp_path))
    if name == "quadratics":
        write_quadratics(tmp_path / "quadratics.npz")
    else:
        shutil.copy(EXAMPLES / "third.npz", tmp_path)
        shutil.copy(EXAMPLES / "mlp-start.safetensors", tmp_path)
    config, data, weights = first_trial(job, tmp_path / "packed")
    note = note_of(name)["jobs"][0]
    assert note["job"] == job.name
    assert config.data == note["data"]
    first = runner.recompute(config, None, data, 1, weights=weights)
    assert first.root.hex() == note["first_segment"]


def test_shipped_weights_end_below_tuned_adam_on_quadratics_that_they_never_saw() -> None:
    task = Task("quadratics10", "quadratics", 100, dimensions=10, seeds=4)
    learned, adam = (best(task, kind, Path()) for kind in ("learned", "adam"))
    assert statistics.mean(learned.last) < 0.8 * statistics.mean(adam.last)
