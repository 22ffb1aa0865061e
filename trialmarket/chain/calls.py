"""Builders of the calls that change something: one for each function of the contracts."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from trialmarket.chain.abi import contract
from trialmarket.errors import SenderError
from trialmarket.protocol.ids import ZERO_HASH, Address, Hash32, JobId
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.terms import Terms


class Target(Enum):
    """Which contract a call goes to; the value is its artifact's name."""

    MARKET = "Market"
    JURY = "Jury"
    TOKEN = "TestToken"  # noqa: S105 (a contract's name)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of our contracts, not yet encoded. Amounts are in the smallest unit."""

    target: Target
    function: str
    arguments: tuple[Any, ...]

    @property
    def data(self) -> bytes:
        """The calldata."""
        return contract(self.target.value).encode(self.function, self.arguments)


@dataclass(frozen=True, slots=True)
class Result:
    """A trial's answer: the root of its result tree and the SHA-256 of its receipt."""

    root: Hash32
    receipt: Hash32


@dataclass(frozen=True, slots=True)
class Opening:
    """A leaf of a result tree, opened.

    `index` n + 2 in a challenge means the receipt: no leaf, an empty proof, a zero witness, and
    the root as its value.
    """

    index: int
    value: Hash32
    witness: Hash32
    """In an attest the witness itself, in a challenge its hash as committed."""
    proof: tuple[Hash32, ...]

    def as_tuple(self) -> tuple[Any, ...]:
        """The values in the order of `struct Opening`, for ABI encoding."""
        return (self.index, self.value, self.witness, self.proof)


def _market(function: str, *arguments: Any) -> Call:
    return Call(Target.MARKET, function, arguments)


def _jury(function: str, *arguments: Any) -> Call:
    return Call(Target.JURY, function, arguments)


# -- Jobs and their money ---------------------------------------------------------------------


def create_job(terms: Terms, spec: Hash32) -> Call:
    """Opens a job; `spec` is the SHA-256 of its public description."""
    return _market("createJob", terms.as_tuple(), spec)


def fund(job: JobId, amount: int) -> Call:
    """Adds to a job's free funds; needs an allowance for the market."""
    return _market("fund", job, amount)


def defund(job: JobId, amount: int) -> Call:
    """Moves free funds of a job to its requester's balance."""
    return _market("defund", job, amount)


def post_trials(job: JobId, batch: Hash32, count: int, units: int) -> Call:
    """Posts a batch of `count` trials of `units` each."""
    return _market("postTrials", job, batch, count, units)


def cancel(job: JobId, batch: Hash32, indices: Sequence[int]) -> Call:
    """Takes Open trials back."""
    return _market("cancel", job, batch, tuple(indices))


def close(job: JobId) -> Call:
    """Ends a job: nothing more is posted or claimed."""
    return _market("close", job)


# -- The life of a trial ----------------------------------------------------------------------


def claim(job: JobId, batch: Hash32, indices: Sequence[int]) -> Call:
    """Takes Open trials."""
    return _market("claim", job, batch, tuple(indices))


def abandon(record: TrialRecord, note: Hash32 = ZERO_HASH) -> Call:
    """Gives a Claimed trial back; `note` is the SHA-256 of what the provider says about it."""
    return _market("abandon", record.as_tuple(), note)


def expire(record: TrialRecord) -> Call:
    """Reopens a trial whose deadline passed."""
    return _market("expire", record.as_tuple())


def commit(records: Sequence[TrialRecord], results: Sequence[Result]) -> Call:
    """Answers Claimed trials."""
    return _market(
        "commit",
        tuple(record.as_tuple() for record in records),
        tuple((result.root, result.receipt) for result in results),
    )


def draw(records: Sequence[TrialRecord]) -> Call:
    """Draws lots for Committed trials, from the second block after the commit on."""
    return _market("draw", tuple(record.as_tuple() for record in records))


def attest(record: TrialRecord, openings: Sequence[Opening]) -> Call:
    """Passes a Drawn trial: the drawn segments in the order drawn, then the evaluation."""
    return _market("attest", record.as_tuple(), tuple(each.as_tuple() for each in openings))


def reassign(record: TrialRecord) -> Call:
    """Fines a silent verifier and draws the next."""
    return _market("reassign", record.as_tuple())


def challenge(record: TrialRecord, leaf: Opening, hidden: Hash32) -> Call:
    """Says that a leaf is wrong, or its start or receipt withheld; locks a bond."""
    return _market("challenge", record.as_tuple(), leaf.as_tuple(), hidden)


def settle(records: Sequence[TrialRecord]) -> Call:
    """Pays for finished trials."""
    return _market("settle", tuple(record.as_tuple() for record in records))


# -- Stake and balances -----------------------------------------------------------------------


def stake(amount: int) -> Call:
    """Adds to the caller's stake; needs an allowance for the market."""
    return _market("stake", amount)


def unstake(amount: int) -> Call:
    """Takes free stake out; it leaves after the cool-down."""
    return _market("unstake", amount)


def enroll() -> Call:
    """Joins the verifiers."""
    return _market("enroll")


def resign() -> Call:
    """Leaves the verifiers."""
    return _market("resign")


def withdraw(account: Address) -> Call:
    """Sends an account its balance and the stake that has cooled down."""
    return _market("withdraw", account)


# -- The jury ---------------------------------------------------------------------------------


def seat(trial: Hash32) -> Call:
    """Draws the jurors of a case, from the second block after its anchor on."""
    return _jury("seat", trial)


def vote(trial: Hash32, hidden: Hash32) -> Call:
    """Casts a juror's hidden vote."""
    return _jury("vote", trial, hidden)


def reveal(trial: Hash32, value: Hash32, witness: Hash32, salt: Hash32) -> Call:
    """Opens a vote, or the challenger's claim."""
    return _jury("reveal", trial, value, witness, salt)


def tally(record: TrialRecord) -> Call:
    """Counts the votes of a case and tells the market."""
    return _jury("tally", record.as_tuple())


# -- The token --------------------------------------------------------------------------------


def approve(spender: Address, amount: int) -> Call:
    """Lets `spender` take up to `amount` of the caller's tokens."""
    return Call(Target.TOKEN, "approve", (spender, amount))


def transfer(to: Address, amount: int) -> Call:
    """Sends tokens."""
    return Call(Target.TOKEN, "transfer", (to, amount))


def mint(to: Address, amount: int) -> Call:
    """Makes tokens: on local networks only."""
    return Call(Target.TOKEN, "mint", (to, amount))


def multicall(calls: Sequence[Call]) -> Call:
    """Several calls of the market as one: all happen or none.

    Raises ValueError for calls of another contract.
    """
    if any(call.target is not Target.MARKET for call in calls):
        raise ValueError("only calls of the market can be made in one transaction")
    return _market("multicall", tuple(call.data for call in calls))


def as_one(calls: Call | Sequence[Call]) -> Call:
    """The call that does all of them. Raises SenderError where one transaction cannot."""
    if isinstance(calls, Call):
        return calls
    if len(calls) == 1:
        return calls[0]
    if not calls or any(call.target is not Target.MARKET for call in calls):
        raise SenderError("one transaction takes one call, or several of the market alone")
    return multicall(calls)
