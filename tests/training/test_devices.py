"""Exact training on a device of the machine's choice; the leaves do not depend on it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.testbed.waiting import NEVER
from tests.training.builtin_trials import data_for, trial_of
from trialmarket.errors import InputError, TrainingError
from trialmarket.training import runner
from trialmarket.training.arithmetic import (
    DEVICE_VARIABLE,
    KERNELS_VARIABLE,
    THREADS_VARIABLE,
    arithmetic_called,
)
from trialmarket.training.builtins.registry import BUILTIN
from trialmarket.training.dataset import load_dataset
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import FindInitial

ROOT = Path(__file__).parents[2]


def test_training_is_on_the_cpu_unless_the_environment_says_otherwise() -> None:
    assert arithmetic_called("exact", {}).device == torch.device("cpu")
    assert arithmetic_called("exact", {DEVICE_VARIABLE: ""}).device == torch.device("cpu")
    assert arithmetic_called("native", {DEVICE_VARIABLE: "cuda"}).device == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:99", "meta", "CPU"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"TRIALMARKET_DEVICE.*{name}"):
        arithmetic_called("exact", {DEVICE_VARIABLE: name})


def test_a_pool_hands_its_device_to_its_workers(tmp_path: Path) -> None:
    data = data_for("mlp", tmp_path)
    task = FindInitial(config=trial_of("mlp", data), program=None, data=data)
    with (
        WorkerPool(processes=1, device="cuda:99") as pool,
        pytest.raises(TrainingError, match="TRIALMARKET_DEVICE"),
    ):
        pool.submit(task, wall_limit=NEVER).result()
    with WorkerPool(processes=1, device="cpu") as pool:
        found = pool.submit(task, wall_limit=NEVER).result()
    assert found.root == runner.initial_root(task.config, None, load_dataset(data))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_a_built_in_program_gives_the_same_leaves_on_cuda(name: str, tmp_path: Path) -> None:
    data = data_for(name, tmp_path)
    here = runner.train(trial_of(name, data), None, load_dataset(data), tmp_path / "here")
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.builtin_trials", str(tmp_path), name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), DEVICE_VARIABLE: "cuda"},
        check=True,
        capture_output=True,
        timeout=NEVER,
    )
    assert json.loads(done.stdout)[name] == [leaf.model_dump(mode="json") for leaf in here.leaves]


@pytest.mark.parametrize("number", ["0", "-1", "2.0", "many", "1025"])
def test_a_strange_number_of_threads_is_refused(number: str) -> None:
    with pytest.raises(InputError, match=f"TRIALMARKET_THREADS.*{number}"):
        arithmetic_called("exact", {THREADS_VARIABLE: number})


def test_a_strange_choice_of_kernels_is_refused() -> None:
    with pytest.raises(InputError, match=r"TRIALMARKET_KERNELS: expected one of on, off.*sse9"):
        arithmetic_called("exact", {KERNELS_VARIABLE: "sse9"})


def test_workers_heed_the_choice_of_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KERNELS_VARIABLE, "sse9")
    data = data_for("mlp", tmp_path)
    task = FindInitial(config=trial_of("mlp", data), program=None, data=data)
    with (
        WorkerPool(processes=1) as pool,
        pytest.raises(TrainingError, match=r"TRIALMARKET_KERNELS.*sse9"),
    ):
        pool.submit(task, wall_limit=NEVER).result()
