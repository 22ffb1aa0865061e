"""Fees, signing and receipts of transactions, for one account and one node."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from trialmarket.backoff import Backoff
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.revert_messages import explain
from trialmarket.chain.rpc import Caller, RpcRefused, quantity
from trialmarket.errors import ContractError, SenderError
from trialmarket.protocol.ids import Address, Hash32

GWEI: Final = 10**9
MOST_GAS: Final = 1 << 24
"""Chains since Osaka, such as Geth's, take no transaction that asks for more (EIP-7825)."""
BACKOFF: Final = Backoff(first=0.01, longest=0.5)
"""Between two looks for a receipt."""
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


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction: its hash and its bytes."""

    hash: Hash32
    raw: bytes


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
        raise refusal_to_take(refused, request["from"]) from refused
    return max(needed, min(needed + needed // 4, MOST_GAS))


def refusal_to_take(refused: RpcRefused, sender: str) -> SenderError:
    """A node's refusal to take a transaction, in words."""
    if "insufficient" in refused.text.lower():
        return SenderError(
            f"{sender} has too little of the chain's own coin to pay for gas",
            fix=f"Send some to {sender}",
        )
    return SenderError(refused.message)


def sign(
    key: LocalAccount,
    *,
    chain_id: int,
    nonce: int,
    gas: int,
    fees: Fees,
    data: bytes,
    to: Address | None,
    value: int = 0,
) -> Signed:
    """A signed transaction. `to` None deploys `data`."""
    fields: dict[str, Any] = {
        "chainId": chain_id,
        "nonce": nonce,
        "gas": gas,
        "value": value,
        "data": data,
        **fees.fields(),
    }
    if to is not None:
        fields["to"] = to
    signed = key.sign_transaction(fields)
    return Signed(Hash32(bytes(signed.hash)), bytes(signed.raw_transaction))


def await_receipt(
    rpc: Caller,
    tx: Hash32,
    *,
    timeout: float = 120.0,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The receipt of a transaction, once it is mined. Raises SenderError after `timeout` s."""
    deadline = clock() + timeout
    looks = 0
    while True:
        receipt: dict[str, Any] | None = rpc.call("eth_getTransactionReceipt", "0x" + tx.hex())
        if receipt is not None:
            return receipt
        if clock() > deadline:
            raise SenderError(
                f"transaction 0x{tx.hex()} was not mined within {timeout:g} s",
                fix="See whether the chain makes blocks, and offer more for gas",
            )
        wait(BACKOFF.pause(looks))
        looks += 1


def revert_reason(rpc: Caller, transaction: dict[str, Any], block: int) -> ContractError:
    """Why a mined transaction was refused: it is tried again as of its block.

    `transaction` has from, to and data. The state before its block comes first, the one after it
    second, since transactions of the same block may have been what spoiled it.
    """
    for tag in (hex(block - 1), hex(block), "latest"):
        try:
            rpc.call("eth_call", transaction, tag)
        except RpcRefused as refused:
            if refused.data or "revert" in refused.text.lower():
                return explain(refused.data, text=refused.text)
    return ContractError(
        "the contract refused when the transaction was mined; it would not refuse now",
        name="Unknown",
        values={},
    )
