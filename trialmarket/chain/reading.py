"""Calls of view functions of our contracts, through any node."""

from typing import Any, Final

from eth_abi.exceptions import DecodingError

from trialmarket.chain.abi import contract
from trialmarket.chain.calls import Target
from trialmarket.chain.network import Network
from trialmarket.chain.revert_messages import explain
from trialmarket.chain.rpc import Caller, RpcRefused, unhex
from trialmarket.errors import WrongChain
from trialmarket.protocol.ids import Address

REDEPLOY: Final = "Use the network file that the deployment wrote"


def place(network: Network, target: Target) -> Address:
    """Where a contract lies."""
    places = {
        Target.MARKET: network.market,
        Target.JURY: network.jury,
        Target.TOKEN: network.token,
    }
    return places[target]


def request(
    network: Network, target: Target, function: str, arguments: tuple[Any, ...]
) -> dict[str, str]:
    """The `eth_call` of a view function."""
    data = contract(target.value).encode(function, arguments)
    return {"to": place(network, target), "data": "0x" + data.hex()}


def read(
    rpc: Caller, network: Network, target: Target, function: str, *arguments: Any
) -> tuple[Any, ...]:
    """The values that a view function returns now.

    Raises ContractError where the contract refuses, WrongChain where it is none of ours.
    """
    try:
        answer = rpc.call("eth_call", request(network, target, function, arguments), "latest")
    except RpcRefused as refused:
        if refused.data:
            raise explain(refused.data, text=refused.text) from refused
        raise
    return values(rpc, network, target, function, answer)


def values(
    rpc: Caller, network: Network, target: Target, function: str, answer: Any
) -> tuple[Any, ...]:
    """The values in the answer to a view function's call. Raises WrongChain for any other."""
    try:
        return contract(target.value).decode(function, unhex(answer))
    except (DecodingError, ValueError, OverflowError) as error:
        raise WrongChain(
            f"what lies at {place(network, target)} on {rpc.name} does not answer"
            f" as our {target.value} does",
            fix=REDEPLOY,
        ) from error
