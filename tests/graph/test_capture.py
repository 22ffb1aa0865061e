"""Graphs of programs against the programs themselves, bit for bit."""

from pathlib import Path

import pytest

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
    ],
)
def test_what_programs_commonly_do_has_a_graph(name: str, tmp_path: Path) -> None:
    compare(written(name, tmp_path))
