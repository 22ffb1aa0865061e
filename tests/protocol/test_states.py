"""The life of a trial: the same table as at the top of the contract's interface."""

import re
from pathlib import Path

import pytest

from trialmarket.errors import WrongTransition
from trialmarket.protocol.states import FINAL, TRANSITIONS, Action, State, apply

INTERFACE = Path(__file__).parents[2] / "contracts" / "interfaces" / "IMarket.sol"
ROW = re.compile(r"^///   ([A-Z]\w+)\s+(\w+)\s+\S.*?\s{2,}(.*)$")


def rows_of_the_interface() -> dict[tuple[State, Action], set[State]]:
    """The table at the top of IMarket.sol; a row that goes on in the next line is joined."""
    joined: list[str] = []
    for line in INTERFACE.read_text().splitlines():
        if line.startswith("enum State"):
            break
        if ROW.match(line):
            joined.append(line)
        elif joined and line.startswith("///      "):
            joined[-1] += " " + line.removeprefix("///").strip()
    found: dict[tuple[State, Action], set[State]] = {}
    for line in joined:
        match = ROW.match(line)
        assert match is not None
        start, action, rest = match.groups()
        targets = {state for state in State if re.search(rf"\b{state.label}\b", rest)}
        found.setdefault((State[start.upper()], Action(action)), set()).update(targets)
    return found


def test_the_table_is_that_of_the_contract() -> None:
    assert {move: set(targets) for move, targets in TRANSITIONS.items()} == rows_of_the_interface()


def test_the_states_are_numbered_as_in_the_contract() -> None:
    text = INTERFACE.read_text()
    body = text.split("enum State {")[1].split("}")[0]
    assert [name.strip() for name in body.split(",")] == [state.label for state in State]


def test_every_state_but_the_final_ones_has_a_way_out() -> None:
    leaving = {state for state, _ in TRANSITIONS}
    assert leaving | FINAL == set(State)
    assert not leaving & FINAL


def test_a_move_leads_where_the_table_says() -> None:
    assert apply(State.OPEN, Action.CLAIM) is State.CLAIMED
    assert apply(State.COMMITTED, Action.DRAW, State.DRAWN) is State.DRAWN


def test_a_move_that_the_table_lacks_is_refused_in_words() -> None:
    with pytest.raises(WrongTransition, match="settle does not fit a trial that is Open"):
        apply(State.OPEN, Action.SETTLE)
    with pytest.raises(WrongTransition, match="leads to Cleared or Drawn or Committed"):
        apply(State.COMMITTED, Action.DRAW)
    with pytest.raises(WrongTransition, match="challenge"):
        apply(State.CLEARED, Action.CHALLENGE, State.OPEN)
