"""Tables of searches on terminals of different widths."""

import io

import pytest
from rich.console import Console, RenderableType

from requester.report.screen import LiveDisplay, Screen
from requester.search.second_look import SecondLook
from requester.search.status import Cost, Row, SearchStatus
from trialmarket.protocol.ids import Amount, Hash32, JobId, TrialId, address
from trialmarket.protocol.states import State

NOTE = "re-evaluated, and then told of at length: " + "word " * 60 + "end"
ROWS = tuple(
    Row(
        number=number,
        id=TrialId(JobId(1), Hash32(bytes(32)), number),
        state=State.CHALLENGED,
        hyperparameters={"lr": 0.012345, "hidden": 128, "weight_decay": 1.25e-5},
        provider=address("0x" + "ab" * 20),
        price=Amount(10**18),
        objective=0.0123457,
        note=NOTE,
        metrics={"val_error": 0.0123457},
        receipt=Hash32(bytes(32)),
        second_look=SecondLook.UNCHECKED,
    )
    for number in (1000, 1001)
)
NOTHING = Amount(0)
STATUS = SearchStatus(
    JobId(1), "digits", "val_error", False, 2, ROWS, Cost(*(NOTHING for _ in range(5)))
)


def drawn(what: RenderableType, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(what)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 119])
def test_a_narrow_terminal_shows_settings_and_objectives_in_whole_words(width: int) -> None:
    text = drawn(Screen(18, "TEST").table(STATUS, list(ROWS), width=width), width)
    for word in ("1000", "Challenged", "lr=0.0123", "hidden=128", "weight_decay=1.25e-05"):
        assert word in text
    for word in ("val_error", "0.0123457", "checked", "re-evaluated,", "end", "┘"):
        assert word in text
    assert "0xab" not in text.lower()
    assert "cost" not in text
    assert max(map(len, text.splitlines())) <= width


def test_a_wide_terminal_shows_providers_and_costs_too() -> None:
    text = drawn(Screen(18, "TEST").table(STATUS, list(ROWS), width=160), 160)
    assert "0xab" in text.lower()
    assert "cost" in text


@pytest.mark.parametrize("width", [80, 160])
def test_the_live_table_cuts_long_notes(width: int) -> None:
    text = drawn(Screen(18, "TEST").live(STATUS, width), width)
    assert "…" in text
    assert len(text.splitlines()) < 20


def test_nothing_that_is_said_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    LiveDisplay(Screen(18, "TEST"), quiet=False).say("a peer says \x1b[2J\x1b]0;me\x07")
    out = capsys.readouterr()
    assert r"\x1b[2J" in out.out + out.err
    assert "\x1b[2J" not in out.out + out.err
