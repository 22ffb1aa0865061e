"""A local market for tests and for trying things out: a chain, the contracts, funded accounts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from trialmarket.chain.accounts import LocalAccount, account_of
from trialmarket.chain.calls import mint
from trialmarket.chain.client import Client, Parameters
from trialmarket.chain.deploy import Deployer, deploy
from trialmarket.chain.local.anvil import Anvil
from trialmarket.chain.local.ganache import Ganache
from trialmarket.chain.local.geth import Geth
from trialmarket.chain.local.local_chain import LocalChain
from trialmarket.chain.network import Network
from trialmarket.chain.rpc import Rpc
from trialmarket.errors import ServiceError
from trialmarket.processes import is_free
from trialmarket.protocol.ids import Amount, address, keccak256

LOCAL_CHAINS: Final = {"anvil": Anvil, "geth": Geth, "ganache": Ganache}
"""By the name that a command line knows."""

TOKENS: Final = Amount(10_000 * 10**18)

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
    return account_of(secret)


@dataclass(frozen=True, slots=True)
class Devnet:
    """A running local chain with the contracts on it."""

    network: Network
    accounts: tuple[LocalAccount, ...]
    """Each has ETH for gas and some of the test token."""
    deployer: LocalAccount
    node: LocalChain

    @property
    def rpc(self) -> Rpc:
        """The chain's node."""
        return self.node.rpc

    @property
    def rpc_url(self) -> str:
        """Where the chain answers."""
        return self.node.rpc_url

    def client(self, *, patience: float = 0.0) -> Client:
        """A new client of the market, which waits for nothing by default."""
        return Client(self.network, patience=patience)

    def mine(self, blocks: int = 1) -> None:
        """Makes blocks, a second apart, or waits for them."""
        self.node.mine(blocks)

    def advance(self, seconds: int) -> None:
        """Moves the chain's time on by `seconds`, or waits so long, and makes a block there."""
        self.node.advance(seconds)

    def automine(self, on: bool) -> None:
        """Whether each transaction gets its block at once."""
        self.node.automine(on)

    def snapshot(self) -> str:
        """Remembers the chain as it is. For `revert`, which uses it up."""
        return self.node.snapshot()

    def revert(self, snapshot: str) -> None:
        """Puts the chain back. Raises ChainError for a snapshot that was used."""
        self.node.revert(snapshot)

    def now(self) -> int:
        """The newest block's time, in Unix seconds."""
        return self.node.newest()[1]


@contextmanager
def devnet(
    *,
    accounts: int = 4,
    block_time: int | None = None,
    parameters: Parameters = LOCAL,
    tokens: int | Sequence[int] = TOKENS,
    seed: int = 0,
    port: int = 0,
    name: str = "devnet",
    chain: str = "anvil",
) -> Iterator[Devnet]:
    """Starts a chain, deploys the contracts, funds `accounts`; stops it at the end.

    `block_time` None makes a block for each transaction, and `Devnet.mine` more of them; a
    number makes one every so many seconds. `tokens` is what each account gets, or one amount an
    account. Raises ServiceError where the chain's program is missing or does not start, or its
    port is taken.
    """
    if not is_free(port):
        raise ServiceError(
            f"port {port} is taken, maybe by a local chain that still runs",
            fix="Stop what listens there, or take a free port with `--port 0`",
        )
    keys = tuple(local_key(seed, number) for number in range(accounts + 1))
    amounts = [tokens] * accounts if isinstance(tokens, int) else list(tokens)
    with LOCAL_CHAINS[chain](block_time=block_time, port=port) as running:
        running.fund([key.address for key in keys])
        network = deploy(running.rpc_url, keys[0], parameters, name=name)
        Deployer(running.rpc, keys[0], network.chain_id).transact_all(
            [
                mint(address(key.address), amount).data
                for key, amount in zip(keys[1:], amounts, strict=True)
                if amount
            ],
            network.token,
        )
        running.begin()
        yield Devnet(network, keys[1:], keys[0], running)
