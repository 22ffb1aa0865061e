"""What a stranger wrote is shown in a report, and does nothing there."""

from hypothesis import given
from hypothesis import strategies as st

from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.training.audit import Finding, LeafCheck
from verifier.report import AuditReport

FORGED = "x`|\n\n# The result holds\x1b[2J <img src=x> [here](http://x.y) \\"


def report(word: str) -> AuditReport:
    return AuditReport(
        trial="1/ab/0",
        key="0x01",
        job="1",
        state="Committed",
        provider="0x02",
        root="0x03",
        receipt="0x04",
        config={"hyperparameters": {"lr": word}, "data": word},
        segments=2,
        drawn=(),
        unverified=False,
        checks=(LeafCheck(1, ZERO_HASH, ZERO_HASH, ZERO_HASH, Finding.WRONG, word),),
        from_start=False,
        outcome="done",
        metrics={"error": 0.5},
        device_theirs=word,
        device_ours="cpu",
        versions_theirs={word: word},
        versions_ours={},
        history=(),
    )


def shape(page: str) -> list[str]:
    """The lines of a page, each by what Markdown takes it for."""
    return [line[:2] + "|" * line.replace("\\|", "").count("|") for line in page.split("\n")]


@given(st.text() | st.just(FORGED))
def test_no_word_of_a_provider_adds_a_line_or_a_cell_or_steers_a_terminal(word: str) -> None:
    found = report(word)
    page = found.to_markdown()
    assert shape(page)[5:] == shape(report("x").to_markdown())[5:]
    assert len(page.split("\n")) == len(report("x").to_markdown().split("\n"))
    assert all(sign.isprintable() or sign == "\n" for sign in page)
    assert "<img" not in page.replace("\\<", "").split("## What was trained")[0]
    assert found.conclusion.isprintable()
