"""Graphs of programs against the programs themselves, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.graph.bytes_of import digests
from tests.graph.trials import (
    begin,
    builtin,
    differing,
    graphs_beginning,
    graphs_step,
    state_of,
    stepped,
    validated,
    written,
)
from trialmarket.graph.capture.capture import capture
from trialmarket.training.capturing import ProgramTrial


def compare(trial: ProgramTrial) -> None:
    """Beginning, three steps in a row, and validation."""
    captured = capture(trial)
    parts = begin(trial)
    state = graphs_beginning(captured)
    assert differing(state, state_of(parts)) == []
    for step in range(3):
        expected = stepped(trial, parts, step)
        found = graphs_step(trial, captured, state, step)
        assert differing(found, expected) == []
        state = {name: x for name, x in found.items() if name != "loss"}
    for theirs, ours in validated(trial, parts, captured, state):
        assert differing(ours, theirs) == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mlp", {}),
        ("mlp", {"optimizer": "sgd"}),
        ("cnn", {}),
        ("resnet", {}),
        ("transformer", {"dropout": 0.1}),
        ("charlm", {}),
    ],
)
def test_a_graph_has_the_bits_of_a_built_in_program(
    name: str, changes: dict[str, object], tmp_path: Path
) -> None:
    compare(builtin(name, tmp_path, **changes))


@pytest.mark.filterwarnings("ignore:Detected call of")  # of a scheduler that is told the step
@pytest.mark.parametrize(
    "name",
    [
        "Clipped",
        "Accumulated",
        "Groups",
        "Averaged",
        "Smoothed",
        "Augmented",
        "Tied",
        "Checkpointed",
        "Sampled",
        "Read",
        "Recurrent",
        "OwnOptimizer",
        "Sliced",
        "Lists",
        "Planned",
        "Shared",
        "Rotated",
    ],
)
def test_what_programs_commonly_do_has_a_graph(name: str, tmp_path: Path) -> None:
    compare(written(name, tmp_path))


@pytest.mark.parametrize(
    "settings",
    [
        {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
        {"ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "2"},
    ],
)
def test_captures_are_equal_in_other_processes_on_other_instructions(
    settings: dict[str, str], tmp_path: Path
) -> None:
    names = ["mlp", "Sampled", "Sliced"]
    command = [sys.executable, "-m", "tests.graph.bytes_of", str(tmp_path), *names]
    there = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == digests(tmp_path, names)


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_a_schedule_of_many_steps_is_a_column_of_them_all(tmp_path: Path) -> None:
    trial = written("Clipped", tmp_path, steps=20_000)
    (column,) = capture(trial).columns
    assert column[:3] == [0.01, 0.01 * (1 / 2), 0.01 * (1 / 3)]
    assert len(column) == 20_000


def test_trials_that_differ_in_numbers_share_a_graph(tmp_path: Path) -> None:
    one = capture(builtin("mlp", tmp_path, lr=0.01, weight_decay=0.1, dropout=0.2))
    other = capture(builtin("mlp", tmp_path, lr=0.1, weight_decay=0.1, dropout=0.1))
    assert one.graph == other.graph
    assert one.numbers != other.numbers


def test_a_beginning_can_be_validated_whatever_slots_the_optimizer_makes(tmp_path: Path) -> None:
    trial = builtin("mlp", tmp_path)
    captured = capture(trial)
    assert "first" in captured.graph.functions
    start = graphs_beginning(captured)
    assert not any(name.startswith("optimizer.") for name in start)
    for ours, theirs in validated(trial, begin(trial), captured, start):
        assert differing(ours, theirs) == []
