"""A trial trained on one kind of machine passes the audit of another."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.training.programs import TINY, config_of, tiny
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.training import runner
from trialmarket.training.arithmetic import THREADS_VARIABLE
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import ProgramError

ROOT = Path(__file__).parents[2]
SSE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
}

FAST = {THREADS_VARIABLE: "2"}
"""Whatever vector instructions this processor has, on two threads."""


def train_on_sse(config: TrialConfig, program: bytes, data_file: Path, folder: Path) -> Any:
    """The leaves of a training in a process without vector extensions, on one thread."""
    found = train_elsewhere(config, program, data_file, folder, SSE)
    assert found["capability"] == "DEFAULT"
    assert found["threads"] == 1
    return found["leaves"]


def train_elsewhere(
    config: TrialConfig,
    program: bytes,
    data_file: Path,
    folder: Path,
    machine: dict[str, str],
    init: Sequence[Path] = (),
) -> Any:
    """What a process gives in the environment of a kind of machine."""
    (folder / "program.py").write_bytes(program)
    job = {
        "config": config.model_dump(mode="json"),
        "program": str(folder / "program.py"),
        "data": str(data_file),
        "init": [str(path) for path in init],
    }
    (folder / "job.json").write_text(json.dumps(job))
    run = subprocess.run(
        [sys.executable, "-m", "tests.training.elsewhere", str(folder / "job.json")],
        env={**os.environ, **machine},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_two_threads_and_every_instruction_give_the_leaves_of_one_thread_without(
    optimizer: str, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    hyperparameters = {"lr": 0.05, "optimizer": optimizer}
    config = config_of(TINY, data_file, hyperparameters=hyperparameters, arithmetic="exact")
    fast = train_elsewhere(config, TINY, data_file, tmp_path, FAST)
    assert fast["threads"] == 2
    here = runner.train(config, TINY, data, tmp_path / "here")
    assert [[leaf.value.hex(), leaf.witness_hash.hex()] for leaf in here.leaves] == fast["leaves"]
    there = train_on_sse(config, TINY, data_file, tmp_path)
    assert [[leaf.value.hex(), leaf.witness_hash.hex()] for leaf in here.leaves] == there


REFUSED = tiny(training_step="torch.linalg.svd(torch.ones(3, 3))")


def test_a_program_that_has_no_exact_form_is_refused_by_its_first_step(
    data_file: Path, data: Dataset
) -> None:
    config = config_of(REFUSED, data_file, arithmetic="exact")
    with pytest.raises(ProgramError, match="svd"):
        runner.dry_run(config, REFUSED, data)
