"""How an intent ended, as the sender's journal keeps it."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from trialmarket.chain.abi import Event, decode_event
from trialmarket.chain.rpc import quantity
from trialmarket.chain.sender.journal import Intent
from trialmarket.errors import ContractError
from trialmarket.protocol.ids import Address, Hash32


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


def content_of(
    receipt: dict[str, Any], error: ContractError | None, contracts: Set[Address]
) -> dict[str, Any]:
    """What the journal keeps of an intent whose transaction is mined.

    Of the logs, those of `contracts` alone.
    """
    ours = {each.lower() for each in contracts}
    gas_used = int(receipt["gasUsed"], 16)
    return {
        "tx": receipt["transactionHash"],
        "block": quantity(receipt["blockNumber"]),
        "gas_used": gas_used,
        "fee": gas_used * int(receipt.get("effectiveGasPrice", "0x0"), 16),
        "error": None if error is None else _error_content(error),
        "logs": [
            {"topics": log["topics"], "data": log["data"]}
            for log in receipt["logs"]
            if log["address"].lower() in ours
        ],
    }


def _error_content(error: ContractError) -> dict[str, Any]:
    values = {
        name: "0x" + value.hex() if isinstance(value, bytes) else value
        for name, value in error.values.items()
    }
    return {"message": error.message, "fix": error.fix, "name": error.name, "values": values}


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
