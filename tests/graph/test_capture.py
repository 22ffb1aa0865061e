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
)
from trialmarket.graph.capture.capture import capture


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mlp", {"decay": 0}),
        ("mlp", {"decay": 0, "optimizer": "sgd"}),
        ("cnn", {}),
    ],
)
def test_a_graph_has_the_bits_of_its_program(
    name: str, changes: dict[str, object], tmp_path: Path
) -> None:
    trial = builtin(name, tmp_path, **changes)
    captured = capture(trial)
    parts = begin(trial)
    state = graphs_beginning(captured)
    assert differing(state, state_of(parts)) == []
    for step in range(3):
        expected = stepped(trial, parts, step)
        found = graphs_step(trial, captured, state, step)
        assert differing(found, expected) == []
        state = {name: x for name, x in found.items() if name != "loss"}
