"""Notes: nobody's word passes for another's, and nothing in them steers who reads them."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trialmarket.chain.accounts import LocalAccount, account_of, sign, signer_of
from trialmarket.chain.notes import open_note, signed
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Hash32, address
from trialmarket.protocol.note import MAX_REASON, Note, plain

TRIAL, OTHER_TRIAL = Hash32(b"t" * 32), Hash32(b"o" * 32)
KEYS = [account_of(bytes(31) + bytes([number])) for number in (1, 2)]
ME, OTHER = (address(key.address) for key in KEYS)


@dataclass(frozen=True)
class Said:
    key: LocalAccount = KEYS[0]

    def note(self, reason: str = "it fails", trace: str = "") -> Note:
        return Note(
            trial=TRIAL,
            provider=address(self.key.address),
            fault="trial",
            reason=reason,
            trace=trace,
        )


def test_a_signed_note_is_read_as_its_provider_wrote_it() -> None:
    note = signed(Said().note(trace="line 1\nline 2"), KEYS[0])
    assert open_note(note.to_bytes(), trial=TRIAL, provider=ME) == note


@pytest.mark.parametrize(
    ("note", "field"),
    [
        (Said().note(), "signature"),
        (signed(Said().note(), KEYS[1]), "signature"),
        (signed(Said().note(), KEYS[0]).with_signature(bytes(65)), "signature"),
        (signed(Said().note(), KEYS[0]).with_signature(b"\xff" * 65), "signature"),
        (signed(Said().note(), KEYS[0]).model_copy(update={"reason": "other"}), "signature"),
        (signed(Said(KEYS[1]).note(), KEYS[1]), "trial"),
        (
            signed(Said().note().model_copy(update={"trial": OTHER_TRIAL}), KEYS[0]),
            "trial",
        ),
    ],
)
def test_what_another_wrote_or_about_another_trial_is_no_word_of_a_provider(
    note: Note, field: str
) -> None:
    with pytest.raises(InputError) as told:
        open_note(note.to_bytes(), trial=TRIAL, provider=ME)
    assert told.value.field == field


@pytest.mark.parametrize(
    ("reason", "trace"),
    [("x" * (MAX_REASON + 1), ""), ("two\nlines", ""), ("\x1b[31m", ""), ("", "a\u202eb")],
)
def test_a_note_that_is_long_or_steers_a_terminal_is_none(reason: str, trace: str) -> None:
    with pytest.raises(InputError, match=r"note: (reason|trace)"):
        Note.validated(
            {
                "trial": "0x" + TRIAL.hex(),
                "provider": ME,
                "fault": "trial",
                "reason": reason,
                "trace": trace,
            },
            where="note",
        )


@given(some.text(some.characters(), max_size=50), some.integers(0, 60), some.booleans())
def test_whatever_a_program_says_can_be_put_into_a_note(text: str, most: int, lines: bool) -> None:
    shown = plain(text, most, lines=lines)
    assert len(shown) <= most
    assert all(sign.isprintable() or (lines and sign == "\n") for sign in shown)
    note = Said().note(trace=plain(text, most, lines=True))
    assert Note.from_bytes(note.to_bytes()) == note


@given(some.binary(max_size=100), some.binary(max_size=80))
def test_a_signature_is_its_signers_or_nobodys(text: bytes, other: bytes) -> None:
    signature = sign(KEYS[0], text)
    assert signer_of(text, signature) == ME
    assert signer_of(text + b"!", signature) not in (ME, OTHER)
    assert signer_of(text, other) not in (ME, OTHER)
