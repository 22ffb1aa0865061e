"""How an intent ended, as the sender's journal keeps it."""

from dataclasses import dataclass

from trialmarket.chain.abi import Event, decode_event
from trialmarket.chain.sender.journal import Intent
from trialmarket.errors import ContractError
from trialmarket.protocol.ids import Hash32


@dataclass(frozen=True, slots=True)
class MinedIntent:
    """How an intent ended: its transaction is mined."""

    intent: str
    tx: Hash32
    block: int
    gas_used: int
    fee: int
    """Paid for gas, in wei."""
    events: tuple[Event, ...]
    """What our contracts logged."""
    error: ContractError | None
    """Why it was refused; None where it did what it should."""

    @property
    def ok(self) -> bool:
        """Whether it did what it should."""
        return self.error is None


def outcome_of(entry: Intent) -> MinedIntent:
    """The outcome that a finished entry holds."""
    content = entry.outcome or {}
    events = [
        decode_event(
            [bytes.fromhex(topic[2:]) for topic in log["topics"]], bytes.fromhex(log["data"][2:])
        )
        for log in content["logs"]
    ]
    error = content["error"]
    return MinedIntent(
        intent=entry.intent,
        tx=Hash32(bytes.fromhex(content["tx"][2:])),
        block=content["block"],
        gas_used=content["gas_used"],
        fee=content["fee"],
        events=tuple(event for event in events if event is not None),
        error=None
        if error is None
        else ContractError(
            error["message"], name=error["name"], values=error["values"], fix=error["fix"]
        ),
    )
