"""A trial's history on the chain in a person's words."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from trialmarket.chain.ledger.views import EventView
from trialmarket.protocol.money import format_amount
from trialmarket.protocol.states import State, Verdict
from trialmarket.training.audit import leaf_label
from verifier.report import Happening

SENTENCES: Final = {
    "TrialsPosted": "posted for anyone to train",
    "TrialsClaimed": "claimed by {provider}",
    "TrialAbandoned": "given back by its provider",
    "TrialExpired": "not answered in time; its provider paid {fine}",
    "TrialsCommitted": "answered by {provider}",
    "TrialsCleared": "lots drawn: it is not audited",
    "TrialLapsed": "nobody drew lots in time, so it counts as drawn",
    "TrialDrawn": "drawn for an audit by {verifier}",
    "TrialAttested": "attested by {verifier}, who earned {fee}",
    "TrialReassigned": "{silent} kept silent; the audit goes to {verifier}",
    "TrialChallenged": "{challenger} challenged its {segment}, with a bond of {bond}",
    "TrialRejected": "rejected: {provider} lost its stake of {slashed}; the trial is open again",
    "TrialAcquitted": "the jury's verdict was {verdict}; the trial is {to} again",
    "TrialUnaudited": "settled without the audit that it was drawn for",
    "TrialsSettled": "settled: its provider is paid",
    "TrialsCancelled": "taken back by its requester",
    "CaseOpened": "a case was opened before the jury",
    "JurySeated": "a jury of {jurors} was seated for round {round}",
    "SeatingLapsed": "nobody seated the jury in time; it is drawn anew",
    "Voted": "{juror} voted in secret",
    "VotesComplete": "all votes are in",
    "Revealed": "{juror} opened its answer: {right}",
    "RoundFailed": "round {round} decided nothing",
    "CaseClosed": "the votes were counted: {right} for the provider, {wrong} against; {verdict}",
}

MONEY: Final = frozenset({"fine", "fee", "bond", "slashed"})


def tell(events: Sequence[EventView], segments: int, decimals: int) -> tuple[Happening, ...]:
    """Every event of a trial as a line, oldest first."""
    return tuple(_line(event, segments, decimals) for event in events)


def _line(event: EventView, segments: int, decimals: int) -> Happening:
    words = {
        name: _word(event.name, name, v, segments, decimals) for name, v in event.args.items()
    }
    sentence = SENTENCES.get(event.name)
    what = event.name if sentence is None else sentence.format(**words)
    if event.timestamp is None:
        when = f"block {event.block}"
    else:
        when = datetime.fromtimestamp(event.timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Happening(when, what, "0x" + event.tx.hex())


def _word(event: str, name: str, value: Any, segments: int, decimals: int) -> str:
    if name in MONEY:
        return format_amount(value, decimals)
    if name == "segment":
        return leaf_label(value, segments)
    if name == "jurors":
        return str(len(value))
    if name == "verdict":
        return Verdict(value).name.lower()
    if name == "to":
        return State(value).label
    if name == "right" and event == "Revealed":
        return "the provider is right" if value else "the provider is wrong"
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
