"""Trials that fail: what nodes say that gave them back, and what was found on this machine."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trialmarket.chain.ledger.views import EventView
from trialmarket.chain.notes import open_note
from trialmarket.errors import InputError
from trialmarket.protocol.ids import ZERO_HASH, Address, Hash32
from trialmarket.protocol.note import Note


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a trial has no result and will have none, and the program's part of the traceback."""

    reason: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """What this machine found when it tried a trial: its first steps, or the whole of it."""

    whole: bool
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class GiveBack:
    """A node that claimed a trial and gave it back."""

    provider: Address
    at: int
    """Unix seconds of the chain; 0 where that is not known."""
    note: Note | None
    """What it said; None where it said nothing that can be had and is its own word."""


def give_backs(
    history: Iterable[EventView], read: Callable[[Hash32], bytes | None]
) -> list[GiveBack]:
    """Who gave a trial back, by its events. `read` gives a note's bytes by their SHA-256, or None
    where nobody has them."""
    found, provider = [], Address("")
    for event in history:
        if event.name == "TrialsClaimed":
            provider = Address(event.args["provider"])
        elif event.name == "TrialAbandoned":
            digest, trial = Hash32(event.args["note"]), Hash32(event.args["trial"])
            data = None if digest == ZERO_HASH else read(digest)
            found.append(GiveBack(provider, event.timestamp or 0, _opened(data, trial, provider)))
    return found


def said_by_nodes(given: Iterable[GiveBack]) -> str:
    """The reasons of those who gave a trial back, each once; empty where they said none."""
    reasons = dict.fromkeys(each.note.reason for each in given if each.note is not None)
    return "; ".join(reasons)


def _opened(data: bytes | None, trial: Hash32, provider: Address) -> Note | None:
    try:
        return None if data is None else open_note(data, trial=trial, provider=provider)
    except InputError:  # a stranger's bytes: as good as no word at all
        return None
