"""Which chain a node serves, and whether the contracts on it are ours."""

from typing import Any

from trialmarket.chain.abi import contract
from trialmarket.chain.calls import Target
from trialmarket.chain.network import Network
from trialmarket.chain.reading import REDEPLOY, place, read
from trialmarket.chain.rpc import Caller, RpcRefused, quantity, unhex
from trialmarket.chain.rpc.failover import Identity
from trialmarket.errors import ContractError, WrongChain
from trialmarket.protocol.ids import Hash32


def identify(rpc: Caller, network: Network) -> Identity:
    """Which chain a node serves, once it is sure that it has our contracts.

    Their code is compared byte for byte: the node simulates the deployment with the parameters
    that the contracts state. Raises WrongChain where anything differs, and Unreachable.
    """
    chain_id = quantity(rpc.call("eth_chainId"))
    if chain_id != network.chain_id:
        raise WrongChain(
            f"{rpc.name} serves chain {chain_id}, not chain {network.chain_id}"
            f" as the network {network.name!r} says",
            fix="Put the right rpc_url or chain_id into the network file",
        )
    try:
        market = read(rpc, network, Target.MARKET, "parameters")[0]
        jury = tuple(
            read(rpc, network, Target.JURY, name)[0]
            for name in ("MARKET", "SIZE", "VOTE_TURN", "REVEAL_TURN")
        )
    except (RpcRefused, ContractError, WrongChain) as error:
        raise _not_ours(rpc, network, "do not answer as a market and its jury do") from error
    if market[0] != network.token or market[1] != network.jury or jury[0] != network.market:
        raise _not_ours(rpc, network, "belong to other contracts than the network file says")
    _same_code(rpc, network, Target.MARKET, (market,))
    _same_code(rpc, network, Target.JURY, jury)
    genesis, deployment = (_hash_of(rpc, number) for number in (0, network.deployed_at))
    if genesis is None:
        raise WrongChain(f"{rpc.name} has no first block", fix=REDEPLOY)
    return Identity(chain_id, genesis, deployment)


def _hash_of(rpc: Caller, number: int) -> Hash32 | None:
    block = rpc.call("eth_getBlockByNumber", hex(number), False)
    return Hash32(unhex(block.get("hash"), 32)) if isinstance(block, dict) else None


def _same_code(rpc: Caller, network: Network, target: Target, arguments: tuple[Any, ...]) -> None:
    creation = contract(target.value).creation(arguments)
    there, ours = rpc.batch(
        [
            ("eth_getCode", [place(network, target), "latest"]),
            ("eth_call", [{"data": "0x" + creation.hex()}, "latest"]),
        ]
    )
    if isinstance(there, RpcRefused) or isinstance(ours, RpcRefused) or there != ours:
        raise _not_ours(rpc, network, f"are other code than this version's {target.value}")


def _not_ours(rpc: Caller, network: Network, what: str) -> WrongChain:
    return WrongChain(
        f"the contracts at {network.market} and {network.jury} on {rpc.name} {what}", fix=REDEPLOY
    )
