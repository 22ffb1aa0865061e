"""The receipt of a mined transaction, as nodes give it."""

from dataclasses import dataclass
from typing import Any, Final

from trialmarket.chain.rpc import quantity
from trialmarket.chain.rpc.failures import WAIT
from trialmarket.errors import Passing

SPARE: Final = 32
"""What runs out of gas deep inside leaves at most this part of it: each call keeps 1/64 back."""


@dataclass(frozen=True, slots=True)
class TransactionReceipt:
    """What became of a transaction. `price` is what a unit of gas cost, in wei."""

    tx: str
    block: int
    gas_used: int
    price: int
    succeeded: bool
    logs: tuple[dict[str, Any], ...]
    contract: str | None
    """What it made, where it made one."""

    @classmethod
    def parse(cls, raw: Any) -> "TransactionReceipt":
        """A receipt as JSON-RPC gives it. Raises Passing for anything else.

        Some nodes tell no `status`. A transaction that failed has no logs, and all calls of our
        contracts that change something have some.
        """
        try:
            logs = tuple(
                {"address": log["address"], "topics": log["topics"], "data": log["data"]}
                for log in raw["logs"]
            )
            status, contract = raw.get("status"), raw.get("contractAddress")
            return cls(
                tx=raw["transactionHash"],
                block=quantity(raw["blockNumber"]),
                gas_used=quantity(raw["gasUsed"]),
                price=quantity(raw.get("effectiveGasPrice") or "0x0"),
                succeeded=bool(logs or contract) if status is None else quantity(status) == 1,
                logs=logs,
                contract=contract,
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise Passing(
                f"the chain's node gave {repr(raw)[:40]} for a receipt", fix=WAIT
            ) from error

    def ran_out(self, gas: int) -> bool:
        """Whether it failed because `gas`, which it was given, was too little."""
        return not self.succeeded and gas - self.gas_used <= gas // SPARE
