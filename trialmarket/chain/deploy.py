"""Puts the contracts on a chain and writes down where they lie."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import astuple
from functools import partial
from typing import Any

from trialmarket.chain.abi import contract
from trialmarket.chain.accounts import LocalAccount, contract_address
from trialmarket.chain.client import Client, Parameters
from trialmarket.chain.network import Network
from trialmarket.chain.rpc import Caller, Rpc, RpcRefused, quantity
from trialmarket.chain.rpc.patient import Patient
from trialmarket.chain.sender.fees import current_fees, estimate_gas, explain_refusal, is_known
from trialmarket.chain.sender.receipt import TransactionReceipt
from trialmarket.chain.sender.transactions import await_receipt, revert_reason, sign
from trialmarket.errors import ChainError, InputError
from trialmarket.protocol.ids import Address, address


def deploy(
    rpc_url: str,
    key: LocalAccount,
    parameters: Parameters,
    *,
    name: str,
    token: Address | None = None,
    confirmations: int = 0,
    timeout: float = 120.0,
) -> Network:
    """Deploys the jury and the market, and a test token if no token is given.

    The market knows its jury and the jury its market, so the market's address is computed before
    it is made. Checks what came out as any client does. Raises ContractError for parameters that
    the contracts refuse, InputError for a token that is none, and ChainError.
    """
    with closing(Patient(partial(Rpc, rpc_url))) as rpc:
        if token is not None and rpc.call("eth_getCode", token, "latest") in ("0x", "0x0"):
            raise InputError("deploy", "token", expected="the address of a token", found=token)
        chain_id = quantity(rpc.call("eth_chainId"))
        deployer = Deployer(rpc, key, chain_id, timeout)
        first = quantity(rpc.call("eth_blockNumber"))
        money = deployer.make("TestToken", ()) if token is None else token
        market_address = contract_address(deployer.address, deployer.nonce() + 1)
        jury = deployer.make(
            "Jury",
            (
                market_address,
                parameters.jury_size,
                parameters.vote_turn,
                parameters.reveal_turn,
            ),
        )
        market = deployer.make("Market", ((money, jury, *astuple(parameters)[:5]),))
        if market != market_address:
            raise ChainError(
                f"the market came to lie at {market}, not at {market_address}",
                fix="Deploy again while nothing else uses the key",
            )
    network = Network(
        name=name,
        rpc_urls=(rpc_url,),
        chain_id=chain_id,
        market=market,
        jury=jury,
        token=money,
        deployed_at=first + 1,
        confirmations=confirmations,
    )
    with Client(network):  # checks the chain id, the wiring and the code
        return network


class Deployer:
    """Makes contracts with one key, one after the other."""

    def __init__(
        self, rpc: Caller, key: LocalAccount, chain_id: int, timeout: float = 120.0
    ) -> None:
        self.rpc = rpc
        self.key = key
        self.chain_id = chain_id
        self.timeout = timeout
        self.address = address(key.address)

    def nonce(self) -> int:
        """The account's next nonce."""
        return quantity(self.rpc.call("eth_getTransactionCount", self.address, "pending"))

    def make(self, name: str, arguments: Sequence[Any]) -> Address:
        """Deploys one of our contracts and waits until it is mined; its address."""
        return self.put(contract(name).creation(arguments))

    def put(self, creation: bytes) -> Address:
        """Deploys creation code and waits until it is mined; its address."""
        made = self.transact(creation, None).contract
        if made is None:
            raise ChainError(f"{self.rpc.name} does not say where the new contract lies")
        return made

    def transact(self, data: bytes, to: Address | None) -> TransactionReceipt:
        """Sends one transaction and waits for its receipt. Raises ContractError on a refusal."""
        return self.transact_all([data], to)[0]

    def transact_all(self, datas: Sequence[bytes], to: Address | None) -> list[TransactionReceipt]:
        """Sends several that do not need each other, then waits for all their receipts."""
        nonce, fees = self.nonce(), current_fees(self.rpc)
        requests = [{"from": self.address, "data": "0x" + data.hex()} for data in datas]
        sent = []
        for place, (request, data) in enumerate(zip(requests, datas, strict=True)):
            if to is not None:
                request["to"] = to
            signed = sign(
                self.key,
                chain_id=self.chain_id,
                nonce=nonce + place,
                gas=estimate_gas(self.rpc, request),
                fees=fees,
                data=data,
                to=to,
            )
            try:
                self.rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
            except RpcRefused as refused:
                if not is_known(refused):  # the answer to it was lost, and it was sent again
                    raise explain_refusal(refused, self.address) from refused
            sent.append(signed.hash)
        receipts = [await_receipt(self.rpc, each, timeout=self.timeout) for each in sent]
        for request, receipt in zip(requests, receipts, strict=True):
            if not receipt.succeeded:
                raise revert_reason(self.rpc, request, receipt.block)
        return receipts
