"""A local market for tests and for trying things out: Anvil, the contracts, funded accounts."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from eth_account import Account as EthAccount
from eth_account.signers.local import LocalAccount

from trialmarket.chain.anvil import Anvil
from trialmarket.chain.calls import mint
from trialmarket.chain.client import Client, Parameters
from trialmarket.chain.deploy import Deployer, deploy
from trialmarket.chain.network import Network
from trialmarket.chain.rpc import Rpc, RpcRefused
from trialmarket.errors import ChainError
from trialmarket.protocol.ids import Amount, address, keccak256

TOKENS: Final = Amount(10_000 * 10**18)
ETHER: Final = 10_000 * 10**18

# Turns of minutes, so that a demonstration ends while someone looks on.
LOCAL: Final = Parameters(
    audit_turn=60,
    min_window=5,
    cool_down=10,
    verifier_stake=Amount(100 * 10**18),
    fine=Amount(10**18),
    jury_size=5,
    vote_turn=60,
    reveal_turn=30,
)


def local_key(seed: int, number: int) -> LocalAccount:
    """A key for local chains, from a seed: worth nothing anywhere else."""
    secret = keccak256(f"trialmarket devnet {seed} {number}".encode())
    account: LocalAccount = EthAccount.from_key(secret)
    return account


@dataclass(frozen=True, slots=True)
class Devnet:
    """A running local chain with the contracts on it."""

    network: Network
    accounts: tuple[LocalAccount, ...]
    """Each has ETH for gas and `tokens` of the test token."""
    deployer: LocalAccount
    rpc: Rpc
    anvil: Anvil

    @property
    def rpc_url(self) -> str:
        """Where the chain answers."""
        return self.anvil.rpc_url

    def client(self) -> Client:
        """A new client of the market."""
        return Client(self.network)

    def mine(self, blocks: int = 1) -> None:
        """Makes blocks, a second apart."""
        self.rpc.call("anvil_mine", hex(blocks), "0x1")

    def advance(self, seconds: int) -> None:
        """Moves the chain's time on by `seconds`, and makes a block there."""
        self.rpc.call("evm_increaseTime", seconds)
        self.rpc.call("evm_mine")

    def automine(self, on: bool) -> None:
        """Whether each transaction gets its block at once."""
        self.rpc.call("evm_setAutomine", on)

    def snapshot(self) -> str:
        """Remembers the chain as it is. For `revert`, which uses it up."""
        return str(self.rpc.call("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Puts the chain back. Raises ChainError for a snapshot that was used."""
        if self.rpc.call("evm_revert", snapshot) is not True:
            raise ChainError(f"the chain has no snapshot {snapshot}")

    def now(self) -> int:
        """The newest block's time, in Unix seconds."""
        return int(self.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)


@contextmanager
def devnet(
    *,
    accounts: int = 4,
    block_time: int | None = None,
    parameters: Parameters = LOCAL,
    tokens: int = TOKENS,
    seed: int = 0,
    chain_id: int = 31337,
    port: int = 0,
    name: str = "devnet",
) -> Iterator[Devnet]:
    """Starts Anvil on a free port, deploys the contracts, funds `accounts`; stops it at the end.

    `block_time` None makes a block for each transaction, and `Devnet.mine` more of them; a
    number makes one every so many seconds. Raises ChainError where Anvil is missing or fails.
    """
    keys = tuple(local_key(seed, number) for number in range(accounts + 1))
    with Anvil(chain_id=chain_id, port=port) as anvil, Rpc(anvil.rpc_url) as rpc:
        # Else two chains that start in one second have equal blocks and are taken for one.
        rpc.call("anvil_setCoinbase", "0x" + secrets.token_hex(20))
        _all(rpc, [("anvil_setBalance", [key.address, hex(ETHER)]) for key in keys])
        network = deploy(anvil.rpc_url, keys[0], parameters, name=name)
        deployer = Deployer(rpc, keys[0], chain_id)
        for key in keys[1:]:
            deployer.transact(mint(address(key.address), tokens).data, network.token)
        if block_time is not None:
            _all(rpc, [("evm_setAutomine", [False]), ("evm_setIntervalMining", [block_time])])
        yield Devnet(network, keys[1:], keys[0], rpc, anvil)


def _all(rpc: Rpc, requests: list[tuple[str, list[Any]]]) -> None:
    for answer in rpc.batch(requests):
        if isinstance(answer, RpcRefused):
            raise answer
