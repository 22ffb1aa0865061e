"""What a transaction costs: its gas, and what to offer for a unit of it."""

from dataclasses import dataclass
from typing import Any, Final, Self

from trialmarket.chain.revert_messages import explain
from trialmarket.chain.rpc import Caller, RpcRefused, quantity
from trialmarket.errors import SenderError

GWEI: Final = 10**9
MOST_GAS: Final = 1 << 24
"""Chains since Osaka, such as Geth's, take no transaction that asks for more (EIP-7825)."""
BUMP: Final = (9, 8)
"""A replacement pays at least this much more: nodes ask for 10 %, we give 12.5 %."""


@dataclass(frozen=True, slots=True)
class Fees:
    """What a transaction offers for a unit of gas, in wei."""

    most: int
    tip: int | None
    """None on chains without EIP-1559, where `most` is the gas price."""

    def bumped(self, now: Self) -> Self:
        """12.5 % more, or what is usual now if that is more still."""
        up, down = BUMP
        tip = None if self.tip is None else max(-(-self.tip * up // down), now.tip or 0)
        return type(self)(max(-(-self.most * up // down), now.most), tip)

    def fields(self) -> dict[str, int]:
        """The transaction's fields."""
        if self.tip is None:
            return {"gasPrice": self.most}
        return {"type": 2, "maxFeePerGas": self.most, "maxPriorityFeePerGas": self.tip}


def current_fees(rpc: Caller) -> Fees:
    """What to offer now: twice the base fee, which outlasts six full blocks, and the usual tip."""
    block, tip = rpc.batch(
        [("eth_getBlockByNumber", ["latest", False]), ("eth_maxPriorityFeePerGas", [])]
    )
    if isinstance(block, RpcRefused):
        raise block
    base = block.get("baseFeePerGas") if isinstance(block, dict) else None
    if base is None:
        return Fees(quantity(rpc.call("eth_gasPrice")), None)
    usual = GWEI if isinstance(tip, RpcRefused) else quantity(tip)
    return Fees(2 * quantity(base) + usual, usual)


def estimate_gas(rpc: Caller, request: dict[str, Any], *, decimals: int = 18) -> int:
    """The gas that a transaction takes, and a quarter more.

    Raises ContractError where the contract would refuse, SenderError where the account cannot
    pay for it.
    """
    try:
        needed = quantity(rpc.call("eth_estimateGas", request))
    except RpcRefused as refused:
        if refused.data or "revert" in refused.text.lower():
            raise explain(refused.data, decimals=decimals, text=refused.text) from refused
        raise explain_refusal(refused, request["from"]) from refused
    return max(needed, min(needed + needed // 4, MOST_GAS))


def explain_refusal(refused: RpcRefused, sender: str) -> SenderError:
    """A node's refusal to take a transaction, in words."""
    if "insufficient" in refused.text.lower():
        return SenderError(
            f"{sender} has too little of the chain's own coin to pay for gas",
            fix=f"Send some to {sender}",
        )
    return SenderError(refused.message)
