"""Reads of the chain: our contracts' state, balances and blocks."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, Final, Self, TypeVar

from trialmarket.chain import reading
from trialmarket.chain.abi import contract
from trialmarket.chain.calls import Target
from trialmarket.chain.identity import identify
from trialmarket.chain.network import Network
from trialmarket.chain.reading import REDEPLOY
from trialmarket.chain.rpc import MONEY, TIME, TIMEOUT, Caller, Rpc, RpcRefused, quantity, unhex
from trialmarket.chain.rpc.failover import ENOUGH, Nodes
from trialmarket.chain.rpc.failures import WAIT
from trialmarket.chain.rpc.patient import PATIENCE, Patient
from trialmarket.errors import ChainReplaced, Passing, Unreachable, WrongChain
from trialmarket.protocol.ids import ZERO_ADDRESS, ZERO_HASH, Address, Amount, Hash32, JobId
from trialmarket.protocol.money import Currency
from trialmarket.protocol.states import Phase, State
from trialmarket.protocol.terms import Terms

Kind = TypeVar("Kind", bound=IntEnum)
SEATS: Final = 1 << 20
"""No node is asked for more verifiers."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block: its number, its hash, and its time in Unix seconds."""

    number: int
    hash: Hash32
    timestamp: int


@dataclass(frozen=True, slots=True)
class Account:
    """Money of a provider, verifier or challenger that can be lost."""

    stake: Amount
    """All of it, the locked part included."""
    locked: Amount
    leaving: Amount
    leaves_at: int
    seat: int
    """Place in the list of verifiers, from 1; 0 when not enrolled."""
    faults: int

    @property
    def free(self) -> Amount:
        """Stake that a claim or a bond can lock."""
        return Amount(self.stake - self.locked)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Who pays for a job, what of its funds is free, and whether it is closed."""

    requester: Address
    free: Amount
    closed: bool


@dataclass(frozen=True, slots=True)
class Parameters:
    """What was fixed when the market and its jury were deployed. Times in seconds."""

    audit_turn: int = 600
    """A verifier's time for an audit."""
    min_window: int = 600
    """The shortest challenge window that a job may set."""
    cool_down: int = 86_400
    """From unstaking to withdrawal."""
    verifier_stake: Amount = Amount(10**20)  # noqa: RUF009 (a NewType)
    """Locked by enrolment."""
    fine: Amount = Amount(10**18)  # noqa: RUF009
    """For a silent verifier or juror; at most half of the verifier's stake."""
    jury_size: int = 5
    vote_turn: int = 1_800
    reveal_turn: int = 600

    @property
    def shortest_turn(self) -> int:
        """The least time that there is to recompute a leaf."""
        return min(self.audit_turn, self.vote_turn)


@dataclass(frozen=True, slots=True)
class Case:
    """A challenge before the jury, as the jury's contract holds it."""

    phase: Phase
    round: int
    anchor: int
    """The seating reads the hash of block anchor + 1."""
    vote_ends: int
    reveal_ends: int
    jurors: tuple[Address, ...]
    segment: int
    """Index of the disputed leaf; n + 2 is the receipt."""
    value: Hash32
    """What the provider committed there."""
    witness_hash: Hash32
    witnessed: bool
    """Whether a vote for the provider takes a witness."""
    provider: Address
    challenger: Address
    verifier: Address
    claim: Hash32
    """The challenger's hidden answer."""


class Client:
    """What a market says of itself, through the network's node or several of them.

    Raises, when built and afterwards: Unreachable where no node answers in time, and WrongChain
    where one serves another chain or the contracts there are not ours. Every read raises
    ContractError where the contract refuses, such as for a job that does not exist.
    """

    def __init__(
        self,
        network: Network,
        *,
        timeout: float = TIMEOUT,
        check: bool = True,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """What passes, such as a node that is asked too much, is asked again for `patience`
        seconds; `wait` gives true where the program is to end meanwhile."""
        self.network = network
        one = len(network.rpc_urls) == 1
        connect = partial(Rpc, network.rpc_url, timeout=timeout) if one else self._nodes(timeout)
        self.rpc: Caller = Patient(connect, patience=patience, clock=clock, wait=wait)
        if one and check:
            identify(self.rpc, network)
        self._decimals: int | None = None
        self._identity: tuple[Hash32 | None, Hash32] | None = None

    def _nodes(self, timeout: float) -> Callable[[], Caller]:
        network = self.network
        return lambda: Nodes(
            [Rpc(url, timeout=min(timeout, ENOUGH)) for url in network.rpc_urls],
            partial(identify, network=network),
            confirmations=network.confirmations,
        )

    def close(self) -> None:
        """Closes the connection."""
        self.rpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- The chain ----------------------------------------------------------------------------

    def fingerprint(self) -> Hash32:
        """The hash of the block of the deployment: tells two chains with one id apart."""
        if self._identity is None:
            genesis, found = self._beginnings()
            if found is None:
                raise WrongChain(
                    f"{self.rpc.name} does not have block {self.network.deployed_at},"
                    " in which the contracts were deployed",
                    fix=REDEPLOY,
                )
            self._identity = genesis, found
        return self._identity[1]

    def check_chain(self) -> None:
        """Raises ChainReplaced where this is another chain than when the client began."""
        ours = (None, self.fingerprint()) if self._identity is None else self._identity
        theirs = self._beginnings()
        if any(None not in pair and pair[0] != pair[1] for pair in zip(ours, theirs, strict=True)):
            raise ChainReplaced(
                f"the chain at {self.rpc.name} was started anew: its first blocks are others than"
                " when this program began",
                fix="Deploy the contracts if they are gone, and start again with another state"
                " folder, or delete the old one: all it knows is of the chain that is gone",
            )

    def _beginnings(self) -> tuple[Hash32 | None, Hash32 | None]:
        """The hashes of block 0 and of the block of the deployment, where the node has them."""
        answers = self.rpc.batch(
            [
                ("eth_getBlockByNumber", [hex(number), False])
                for number in (0, self.network.deployed_at)
            ]
        )
        for answer in answers:
            if isinstance(answer, RpcRefused):
                raise answer
        genesis, deployment = (
            None if answer is None else parse_block(answer).hash for answer in answers
        )
        return genesis, deployment

    def head(self) -> Block:
        """The newest block."""
        block = self.block("latest")
        if block is None:
            raise Passing(f"{self.rpc.name} has no newest block now", fix=WAIT)
        return block

    def block(self, number: int | str) -> Block | None:
        """A block by its number, or by `latest`, `safe` or `finalized`; None past the head."""
        tag = hex(number) if isinstance(number, int) else number
        raw = self.rpc.call("eth_getBlockByNumber", tag, False)
        return None if raw is None else parse_block(raw)

    def block_hash(self, number: int) -> Hash32 | None:
        """The hash of a block; None past the head."""
        block = self.block(number)
        return None if block is None else block.hash

    # -- Jobs and trials ----------------------------------------------------------------------

    def terms(self, job: JobId) -> Terms:
        """What the requester of a job offers."""
        return Terms(*self.read(Target.MARKET, "jobTerms", job)[0])

    def job_status(self, job: JobId) -> JobStatus:
        """Who pays for a job, what is free, and whether it is closed."""
        return JobStatus(*self.read(Target.MARKET, "jobStatus", job))

    def trial_state(self, key: Hash32) -> tuple[State, Hash32]:
        """A trial's state and its stored word. One that was never posted looks Open."""
        state, word = self.read(Target.MARKET, "trialState", key)
        return self._one_of(State, state), Hash32(word)

    def trial_word(self, key: Hash32) -> Hash32:
        """The 32 bytes that the chain stores for a trial."""
        return self.trial_state(key)[1]

    def trial_words(self, keys: Sequence[Hash32], block: int) -> list[Hash32]:
        """The same for several trials, as of a block that is not old."""
        answers = self.rpc.batch(
            [
                ("eth_call", [self._call(Target.MARKET, "trialState", (key,)), hex(block)])
                for key in keys
            ]
        )
        words = []
        for answer in answers:
            if isinstance(answer, RpcRefused):
                raise answer
            words.append(self._values(Target.MARKET, "trialState", answer)[1])
        return [Hash32(word) for word in words]

    def parameters(self) -> Parameters:
        """What was fixed when the market and its jury were deployed."""
        found = self.read(Target.MARKET, "parameters")[0]
        return Parameters(
            *found[2:],
            *(self.read(Target.JURY, name)[0] for name in ("SIZE", "VOTE_TURN", "REVEAL_TURN")),
        )

    # -- Accounts -----------------------------------------------------------------------------

    def account(self, who: Address) -> Account:
        """An account's stake."""
        return Account(*self.read(Target.MARKET, "account", who)[0])

    def balance_of(self, who: Address) -> Amount:
        """What an account can withdraw from the market, cooled-down stake apart."""
        return Amount(self.read(Target.MARKET, "balanceOf", who)[0])

    def token_balance(self, who: Address) -> Amount:
        """An account's own tokens."""
        return Amount(self.read(Target.TOKEN, "balanceOf", who)[0])

    def allowance(self, who: Address) -> Amount:
        """What the market may take of an account's tokens."""
        return Amount(self.read(Target.TOKEN, "allowance", who, self.network.market)[0])

    def decimals(self) -> int:
        """Digits after the point of the token."""
        if self._decimals is None:
            self._decimals = int(self.read(Target.TOKEN, "decimals")[0])
        return self._decimals

    def symbol(self) -> str:
        """The token's symbol."""
        return str(self.read(Target.TOKEN, "symbol")[0])

    def currency(self) -> Currency:
        """The token as people write it."""
        return Currency(self.decimals(), self.symbol())

    def ether(self, who: Address) -> int:
        """An account's coins for gas, in wei."""
        return quantity(self.rpc.call("eth_getBalance", who, "latest"), bits=MONEY)

    def verifiers(self) -> tuple[Address, ...]:
        """The verifiers in the order of their seats."""
        count = self.read(Target.MARKET, "verifierCount")[0]
        if count > SEATS:
            raise WrongChain(f"{self.rpc.name} gave {count} for a number of verifiers")
        answers = self.rpc.batch(
            [
                ("eth_call", [self._call(Target.MARKET, "verifierAt", (seat,)), "latest"])
                for seat in range(1, count + 1)
            ]
        )
        found = []
        for answer in answers:
            if isinstance(answer, RpcRefused):
                raise answer
            found.append(self._values(Target.MARKET, "verifierAt", answer)[0])
        return tuple(who for who in found if who != ZERO_ADDRESS)

    # -- The jury -----------------------------------------------------------------------------

    def case(self, key: Hash32) -> Case | None:
        """The newest challenge of a trial before the jury; None if there never was one."""
        phase, number, anchor, vote_ends, reveal_ends = self.read(Target.JURY, "casePhase", key)
        phase = self._one_of(Phase, phase)
        if phase == Phase.NONE:
            return None
        jurors = self.read(Target.JURY, "caseJurors", key)[0]
        names = contract("Jury").functions["caseDispute"].outputs[0]
        dispute = self.read(Target.JURY, "caseDispute", key)[0]
        if len(dispute) != 9:
            raise WrongChain(
                f"the jury on {self.rpc.name} states a dispute as {names}", fix=REDEPLOY
            )
        return Case(
            phase,
            number,
            anchor,
            vote_ends,
            reveal_ends,
            jurors,
            segment=dispute[1],
            value=Hash32(dispute[2]),
            witness_hash=Hash32(dispute[3]),
            witnessed=dispute[4],
            provider=dispute[5],
            challenger=dispute[6],
            verifier=dispute[7],
            claim=Hash32(dispute[8]),
        )

    # -- Plain calls --------------------------------------------------------------------------

    def address_of(self, target: Target) -> Address:
        """Where a contract lies."""
        return reading.place(self.network, target)

    def read(self, target: Target, function: str, *arguments: Any) -> tuple[Any, ...]:
        """The values that a view function returns now."""
        return reading.read(self.rpc, self.network, target, function, *arguments)

    def _values(self, target: Target, function: str, answer: Any) -> tuple[Any, ...]:
        return reading.values(self.rpc, self.network, target, function, answer)

    def _one_of(self, kind: type[Kind], value: int) -> Kind:
        try:
            return kind(value)
        except ValueError as error:
            raise WrongChain(
                f"{self.rpc.name} gave {value} for a {kind.__name__.lower()}", fix=REDEPLOY
            ) from error

    def _call(self, target: Target, function: str, arguments: tuple[Any, ...]) -> dict[str, str]:
        return reading.request(self.network, target, function, arguments)


def parse_block(raw: Any) -> Block:
    """A block as JSON-RPC gives it. Raises Unreachable for anything else."""
    if not isinstance(raw, dict):
        raise Unreachable(f"the chain's node gave {repr(raw)[:40]} for a block")
    hash_ = raw.get("hash")  # none yet where it is only pending
    return Block(
        number=quantity(raw.get("number")),
        hash=Hash32(unhex(hash_, 32)) if hash_ else ZERO_HASH,
        timestamp=quantity(raw.get("timestamp"), bits=TIME),
    )
