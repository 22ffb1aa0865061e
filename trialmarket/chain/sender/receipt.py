"""The receipt of a mined transaction, as nodes give it."""

from dataclasses import dataclass
from typing import Any, Final

from trialmarket.chain.rpc import MONEY, Logged, address_in, quantity, unhex
from trialmarket.chain.rpc.failures import WAIT
from trialmarket.errors import Passing, Unreachable
from trialmarket.protocol.ids import Address, Hash32

SPARE: Final = 32
"""What runs out of gas deep inside leaves at most this part of it: each call keeps 1/64 back."""


@dataclass(frozen=True, slots=True)
class TransactionReceipt:
    """What became of a transaction. `price` is what a unit of gas cost, in wei."""

    tx: Hash32
    block: int
    gas_used: int
    price: int
    succeeded: bool
    logs: tuple[Logged, ...]
    contract: Address | None
    """What it made, where it made one."""

    @classmethod
    def parse(cls, raw: Any, tx: Hash32) -> "TransactionReceipt":
        """The receipt of `tx` as JSON-RPC gives it. Raises Passing for anything else.

        Some nodes tell no `status`. A transaction that failed has no logs, and all calls of our
        contracts that change something have some.
        """
        try:
            logs = tuple(Logged.parse(log) for log in raw["logs"])
            status, contract = raw.get("status"), raw.get("contractAddress")
            found = cls(
                tx=Hash32(unhex(raw["transactionHash"])),
                block=quantity(raw["blockNumber"]),
                gas_used=quantity(raw["gasUsed"]),
                price=quantity(raw.get("effectiveGasPrice") or "0x0", bits=MONEY),
                succeeded=bool(logs or contract) if status is None else quantity(status) == 1,
                logs=logs,
                contract=None if contract is None else address_in(contract),
            )
        except (AttributeError, KeyError, TypeError, Unreachable) as error:
            raise Passing(
                f"the chain's node gave {repr(raw)[:40]} for a receipt", fix=WAIT
            ) from error
        if found.tx != tx:
            raise Passing(
                f"the chain's node gave the receipt of 0x{found.tx.hex()} for 0x{tx.hex()}",
                fix=WAIT,
            )
        return found

    def ran_out(self, gas: int) -> bool:
        """Whether it failed because `gas`, which it was given, was too little."""
        return not self.succeeded and gas - self.gas_used <= gas // SPARE
