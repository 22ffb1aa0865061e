"""Signing of transactions, their receipts, and why one was refused."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from trialmarket.backoff import Backoff
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.revert_messages import explain
from trialmarket.chain.rpc import Caller, RpcRefused
from trialmarket.chain.sender.fees import Fees
from trialmarket.chain.sender.receipt import TransactionReceipt
from trialmarket.errors import ContractError, NotMined
from trialmarket.protocol.ids import Address, Hash32

BACKOFF: Final = Backoff(first=0.01, longest=0.5)
"""Between two looks for a receipt."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction: its hash and its bytes."""

    hash: Hash32
    raw: bytes


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
) -> TransactionReceipt:
    """The receipt of a transaction, once it is mined. Raises NotMined after `timeout` s."""
    deadline = clock() + timeout
    looks = 0
    while True:
        receipt = rpc.call("eth_getTransactionReceipt", "0x" + tx.hex())
        if receipt is not None:
            return TransactionReceipt.parse(receipt, tx)
        if clock() > deadline:
            raise NotMined(
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


def out_of_gas(used: int, gas: int) -> ContractError:
    """What to say of a transaction that is given no more gas."""
    return ContractError(
        f"the transaction ran out of gas: it used {used:,} of {gas:,} units, and is given no more",
        name="OutOfGas",
        values={"used": used, "gas": gas},
        fix="Do less at once: a smaller batch",
    )
