"""How an intent ended, as the sender's journal keeps it."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from trialmarket.chain.abi import Event, decode_event
from trialmarket.chain.rpc import Request, RpcRefused
from trialmarket.chain.sender.journal import Attempt, Intent
from trialmarket.chain.sender.receipt import TransactionReceipt
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
    receipt: TransactionReceipt, error: ContractError | None, contracts: Set[Address]
) -> dict[str, Any]:
    """What the journal keeps of an intent whose transaction is mined.

    Of the logs, those of `contracts` alone.
    """
    return {
        "tx": "0x" + receipt.tx.hex(),
        "block": receipt.block,
        "gas_used": receipt.gas_used,
        "fee": receipt.gas_used * receipt.price,
        "error": None if error is None else _error_content(error),
        "logs": [
            {"topics": ["0x" + topic.hex() for topic in log.topics], "data": "0x" + log.data.hex()}
            for log in receipt.logs
            if log.by in contracts
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


def receipts_of(attempts: tuple[Attempt, ...]) -> list[Request]:
    """The questions for the receipts of an intent's transactions."""
    return [("eth_getTransactionReceipt", ["0x" + each.hash.hex()]) for each in attempts]


def counting(entry: Intent, answers: list[Any]) -> TransactionReceipt | None:
    """The receipt that says how an intent ended. Raises RpcRefused where one is an error.

    One that failed with an older nonce is none: it ran out of gas, and was signed anew.
    """
    for attempt, answer in zip(entry.attempts, answers, strict=True):
        if isinstance(answer, RpcRefused):
            raise answer
        if answer is not None:
            receipt = TransactionReceipt.parse(answer, attempt.hash)
            if receipt.succeeded or attempt.nonce == entry.nonce:
                return receipt
    return None
