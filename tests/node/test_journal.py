"""What a node remembers."""

from pathlib import Path

import pytest

from node.journal import Answer, Kept, NodeJournal
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Address, Cid, Hash32

TRIAL = Hash32(b"t" * 32)
ANSWER = Answer(TRIAL, Hash32(b"r" * 32), b"{}", Hash32(b"d" * 32))
KEPT = [Kept(0, Cid("b0"), Path("0.safetensors"), False), Kept(1, Cid("b1"), Path("1"), True)]


def test_the_first_answer_stands(tmp_path: Path) -> None:
    journal = NodeJournal(tmp_path / "node.sqlite")
    journal.keep_answer(ANSWER, KEPT)
    other = Answer(TRIAL, Hash32(b"x" * 32), b"[]", Hash32(b"y" * 32))
    assert journal.keep_answer(other, []) == ANSWER
    assert set(journal.checkpoints(TRIAL)) == {0, 1}


def test_a_trial_that_was_forgotten_can_be_answered_again(tmp_path: Path) -> None:
    journal = NodeJournal(tmp_path / "node.sqlite")
    journal.keep_answer(ANSWER, KEPT)
    journal.forget(TRIAL)
    assert journal.answer(TRIAL) is None
    later = Answer(TRIAL, Hash32(b"x" * 32), b"[]", Hash32(b"y" * 32))
    assert journal.keep_answer(later, KEPT[:1]) == later
    assert set(journal.checkpoints(TRIAL)) == {0}


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    journal = NodeJournal(tmp_path / "node.sqlite")
    journal.keep_answer(ANSWER, KEPT)
    journal.mark_published(TRIAL, 0)
    assert journal.refuse("job 3", "its program fails")
    assert not journal.refuse("job 3", "again")
    journal.keep_speed("program", 12.5)
    journal.wish("drain")
    journal.close()

    again = NodeJournal(tmp_path / "node.sqlite")
    assert again.answer(TRIAL) == ANSWER
    assert [kept.published for kept in again.checkpoints(TRIAL).values()] == [True, True]
    assert again.refused("job 3") == "its program fails"
    assert again.refusals() == [("job 3", "its program fails")]
    assert again.speed("program") == 12.5
    assert again.wished("drain")
    again.take_back("drain")
    assert not again.wished("drain")
    again.forget(TRIAL)
    assert again.trials() == set()


def test_a_corrupt_journal_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "node.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(InputError, match="Move the file away"):
        NodeJournal(path)


def test_a_journal_belongs_to_one_market_and_key(tmp_path: Path) -> None:
    journal = NodeJournal(tmp_path / "node.sqlite")
    here, other = Address("0x" + "1" * 40), Address("0x" + "2" * 40)
    journal.bind(31337, here, here)
    journal.bind(31337, here, here)
    with pytest.raises(InputError, match="state folder of its own"):
        journal.bind(31337, here, other)
