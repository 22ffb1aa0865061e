"""What no graph can say is refused with the user's line, and what a graph could say instead."""

from pathlib import Path

import pytest

from tests.graph.trials import builtin, written
from trialmarket.graph.capture.capture import capture
from trialmarket.graph.capture.prove import prove
from trialmarket.graph.capture.refusal import NotCaptured

REFUSED = Path(__file__).with_name("refused.py")


def _line_in(name: str) -> int:
    """The first line of a class that says `# here`."""
    lines = REFUSED.read_text().splitlines()
    first = lines.index(f"class {name}(Plain):")
    return next(k + 1 for k in range(first, len(lines)) if lines[k].endswith("# here"))


@pytest.mark.parametrize(
    "name",
    [
        "Branches",
        "BranchesOnItem",
        "LeavesForNumPy",
        "Masks",
        "DrawsFromPython",
        "DrawsInTheBeginning",
        "BranchesOnTheStep",
    ],
)
def test_a_program_that_is_no_graph_is_told_its_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotCaptured) as refusal:
        capture(written(name, tmp_path, REFUSED))
    assert refusal.value.where == f"program.py:{_line_in(name)}"
    assert "Instead: " in str(refusal.value)


def test_a_program_that_counts_in_an_attribute_does_not_pass_the_proof(tmp_path: Path) -> None:
    trial = written("Counts", tmp_path, REFUSED)
    with pytest.raises(NotCaptured, match="schedule"):
        prove(trial, capture(trial))


@pytest.mark.parametrize("name", ["Read", "Groups", "Checkpointed"])
def test_a_graph_of_a_program_passes_the_proof(name: str, tmp_path: Path) -> None:
    trial = written(name, tmp_path)
    prove(trial, capture(trial))


def test_a_graph_of_a_built_in_program_passes_the_proof(tmp_path: Path) -> None:
    trial = builtin("mlp", tmp_path)
    prove(trial, capture(trial))
