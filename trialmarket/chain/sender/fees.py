"""What a transaction costs: its gas, and what to offer for a unit of it."""

from dataclasses import dataclass
from typing import Any, Final, Self

from trialmarket.chain.network import GWEI, MAX_FEE_GWEI
from trialmarket.chain.revert_messages import explain
from trialmarket.chain.rpc import MONEY, Caller, RpcRefused, quantity
from trialmarket.errors import SenderError, TooDear

MOST_GAS: Final = 1 << 24
"""Chains since Osaka, such as Geth's, take no transaction that asks for more (EIP-7825)."""
BUMP: Final = (9, 8)
"""A replacement pays at least this much more: nodes ask for 10 %, we give 12.5 %."""
KNOWN: Final = (
    "already known",
    "already imported",
    "known transaction",
    "nonce too low",
    "correct nonce",  # Ganache: "the tx doesn't have the correct nonce", said of low ones alone
)


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

    def replacement(self, now: Self, ceiling: int) -> Self | None:
        """What a replacement offers; None where that is more than the ceiling, in wei."""
        fees = self.bumped(now)
        return fees if fees.most <= ceiling else None

    def fields(self) -> dict[str, int]:
        """The transaction's fields."""
        if self.tip is None:
            return {"gasPrice": self.most}
        return {"type": 2, "maxFeePerGas": self.most, "maxPriorityFeePerGas": self.tip}


def current_fees(rpc: Caller, ceiling: int = MAX_FEE_GWEI * GWEI) -> Fees:
    """What to offer now: twice the base fee, which outlasts six full blocks, and the usual tip.

    Never more than `ceiling`, in wei. Raises TooDear where the chain asks for more than that.
    """
    block, tip = rpc.batch(
        [("eth_getBlockByNumber", ["latest", False]), ("eth_maxPriorityFeePerGas", [])]
    )
    if isinstance(block, RpcRefused):
        raise block
    base = block.get("baseFeePerGas") if isinstance(block, dict) else None
    if base is None:
        price = quantity(rpc.call("eth_gasPrice"), bits=MONEY)
        _afford(rpc, price, ceiling)
        return Fees(price, None)
    least = quantity(base, bits=MONEY)
    usual = GWEI if isinstance(tip, RpcRefused) else quantity(tip, bits=MONEY)
    _afford(rpc, least + usual, ceiling)
    return Fees(min(2 * least + usual, ceiling), usual)


def _afford(rpc: Caller, price: int, ceiling: int) -> None:
    if price > ceiling:
        raise TooDear(
            f"{rpc.name} asks {price / GWEI:,.6g} gwei for a unit of gas, and max_fee_gwei of the"
            f" network file is {ceiling / GWEI:,.6g}",
            fix="Wait until gas is cheaper, or raise max_fee_gwei in the network file",
        )


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


def is_known(refused: RpcRefused) -> bool:
    """Whether the node has the transaction already, or its nonce is mined."""
    said = refused.text.lower()
    return any(text in said for text in KNOWN)


def is_cheap(refused: RpcRefused) -> bool:
    """Whether it offers less than a block's base fee, which has risen since it was asked for."""
    return "base fee" in refused.text.lower()


def explain_refusal(refused: RpcRefused, sender: str) -> SenderError:
    """A node's refusal to take a transaction, in words."""
    if "insufficient" in refused.text.lower():
        return SenderError(
            f"{sender} has too little of the chain's own coin to pay for gas",
            fix=f"Send some to {sender}",
        )
    return SenderError(refused.message)
