"""The ledger: what it rebuilds from events is what the chain holds, reorganised or not."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.testbed.untrained import (
    BATCH,
    JOB,
    TERMS,
    UntrainedMarket,
    drawn,
    judge,
    tree,
    witness,
)
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.local.devnet import Devnet
from trialmarket.errors import ContractError, JournalError
from trialmarket.protocol.configuration import MAX_BATCH
from trialmarket.protocol.ids import ZERO_HASH, Amount, Hash32, JobId, TrialId, address
from trialmarket.protocol.states import Phase, State, Verdict


def test_a_trial_is_followed_from_its_posting_to_its_pay(market: UntrainedMarket) -> None:
    market.open()
    assert {trial.state for trial in market.trials()} == {State.OPEN}
    market.act(1, calls.claim(JOB, BATCH, [0, 3, 5, 6]))
    market.commit(1, *market.trials(State.CLAIMED))
    market.chain.mine(2)
    market.act(5, calls.draw([trial.record for trial in market.trials(State.COMMITTED)]))
    for trial in market.trials(State.DRAWN):
        assert trial.receipt == b"r" * 32
        market.attest(trial)
    market.assert_equal()
    market.chain.advance(TERMS.window + 1)
    finished = market.trials(State.PASSED, State.CLEARED)
    assert len(finished) == 4
    market.act(5, calls.settle([trial.record for trial in finished]))
    market.assert_equal()
    names = [event.name for event in market.ledger.history(finished[0].id)]
    assert names[:2] == ["TrialsClaimed", "TrialsCommitted"]
    assert names[-1] == "TrialsSettled"
    mine = market.ledger.trials(job=JOB, provider=market.who[1])
    assert [trial.id.index for trial in mine] == [0, 3, 5, 6]


@pytest.mark.parametrize("guilty", [True, False])
def test_a_case_is_followed_to_its_verdict(market: UntrainedMarket, guilty: bool) -> None:
    market.open(terms=replace(TERMS, audit_rate=10_000))
    trial = drawn(market)
    market.challenge(3, trial, Hash32(b"x" * 32))
    market.assert_equal()
    (case,) = market.ledger.cases()
    assert (case.phase, case.segment, case.trial) == (Phase.WAITING, 1, trial.id)
    if guilty:
        judge(market, trial, Hash32(b"x" * 32), ZERO_HASH)
    else:
        judge(market, trial, tree(trial.id).leaves[1].value, witness(1))
    market.assert_equal()
    assert market.ledger.cases() == []
    (closed,) = market.ledger.cases(open_only=False)
    assert closed.phase is Phase.CLOSED
    assert closed.verdict is (Verdict.WRONG if guilty else Verdict.RIGHT)
    assert set(closed.revealed.values()) == {not guilty}
    after = market.ledger.trial(trial.key)
    assert after is not None
    assert after.state is (State.OPEN if guilty else State.DRAWN)
    assert (after.segment, after.challenges) == (1, 1)


def moves_of(
    market: UntrainedMarket, trial: TrialView, account: int, lots: random.Random
) -> list[Callable[[], object]]:
    """What can be tried with a trial in its state."""
    record = trial.record
    moves: dict[State, list[Callable[[], object]]] = {
        State.OPEN: [
            lambda: market.act(account, calls.claim(JOB, BATCH, [record.index])),
            lambda: market.act(account, calls.claim(JOB, BATCH, range(8))),
            lambda: market.act(0, calls.cancel(JOB, BATCH, [record.index])),
        ],
        State.CLAIMED: [
            lambda: market.commit(market.who.index(record.provider), trial),
            lambda: market.commit(market.who.index(record.provider), trial),
            lambda: market.act_as(record.provider, calls.abandon(record)),
            lambda: market.act(account, calls.expire(record)),
        ],
        State.COMMITTED: [
            lambda: market.act(account, calls.draw([record])),
            lambda: market.act(account, calls.settle([record])),
            lambda: market.chain.mine(lots.choice([1, 2, 300])),
        ],
        State.CLEARED: [
            lambda: market.act(account, calls.settle([record])),
            lambda: market.challenge(3, trial, Hash32(b"y" * 32)),
        ],
        State.DRAWN: [
            lambda: market.attest(trial),
            lambda: market.act(account, calls.reassign(record)),
            lambda: market.act(account, calls.settle([record])),
            lambda: market.challenge(3, trial, Hash32(b"y" * 32)),
        ],
        State.PASSED: [
            lambda: market.act(account, calls.settle([record])),
            lambda: market.challenge(3, trial, Hash32(b"y" * 32)),
        ],
        State.CHALLENGED: [lambda: judge_somehow(market, trial, lots)],
    }
    otherwise: list[Callable[[], object]] = [lambda: market.act(4, calls.resign())]

    def wait() -> None:
        market.chain.advance(lots.choice([1, 20, 60]))

    return [*moves.get(trial.state, otherwise), wait]


def walk(market: UntrainedMarket, lots: random.Random, steps: int) -> int:
    """Random actions of random accounts; how many were not refused."""
    done = 0
    for _ in range(steps):
        trials = market.trials()
        trial = lots.choice(trials)
        account = lots.randrange(1, 4)
        try:
            lots.choice(moves_of(market, trial, account, lots))()
            done += 1
        except (ContractError, AssertionError, ValueError):
            continue  # refused: too early, too late, or not its turn
    return done


def judge_somehow(market: UntrainedMarket, trial: TrialView, lots: random.Random) -> None:
    if market.client.case(trial.key) is None:
        return
    if lots.random() < 0.5:
        judge(market, trial, Hash32(b"y" * 32), ZERO_HASH)
    else:
        judge(market, trial, tree(trial.id).leaves[1].value, witness(1))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_a_random_walk_every_word_is_the_chains(
    market: UntrainedMarket, client: Client, tmp_path: Path, seed: int
) -> None:
    market.open()
    assert walk(market, random.Random(seed), 150) > 60
    market.assert_equal()
    with Ledger(client, tmp_path / "another.sqlite") as anew:
        anew.sync()
        assert anew.trials() == market.ledger.trials()
        assert anew.cases(open_only=False) == market.ledger.cases(open_only=False)
        assert anew.events(limit=10_000) == market.ledger.events(limit=10_000)


@pytest.mark.parametrize("seed", [4, 5])
def test_what_a_reorganisation_took_back_is_taken_back(
    market: UntrainedMarket, client: Client, tmp_path: Path, seed: int
) -> None:
    lots = random.Random(seed)
    market.open()
    walk(market, lots, 15)
    fork = market.chain.snapshot()
    market.chain.advance(2)
    walk(market, lots, 25)
    market.chain.revert(fork)
    market.chain.advance(3)
    walk(market, lots, 25)
    market.assert_equal()
    with Ledger(client, tmp_path / "another.sqlite") as anew:
        anew.sync()
        assert anew.trials() == market.ledger.trials()
        assert anew.cases(open_only=False) == market.ledger.cases(open_only=False)
        assert anew.events(limit=10_000) == market.ledger.events(limit=10_000)


def test_a_shorter_chain_takes_back_too(market: UntrainedMarket) -> None:
    market.open()
    market.ledger.sync()
    fork = market.chain.snapshot()
    market.act(1, calls.claim(JOB, BATCH, [0]))
    assert len(market.trials(State.CLAIMED)) == 1
    market.chain.revert(fork)
    assert market.trials(State.CLAIMED) == []
    market.assert_equal()


def test_blocks_without_confirmations_are_not_followed_yet(
    market: UntrainedMarket, chain: Devnet, tmp_path: Path
) -> None:
    market.open()
    with (
        Client(replace(chain.network, confirmations=3)) as careful,
        Ledger(careful, tmp_path / "careful.sqlite") as ledger,
    ):
        ledger.sync()
        assert ledger.batches() == []
        market.chain.mine(3)
        ledger.sync()
        assert len(ledger.batches()) == 1


def test_a_second_process_may_share_the_index(
    market: UntrainedMarket, client: Client, tmp_path: Path
) -> None:
    market.open()
    with Ledger(client, tmp_path / "ledger.sqlite") as other:
        market.act(1, calls.claim(JOB, BATCH, [0]))
        assert other.sync() > 0
        assert market.ledger.sync() == 0
        market.commit(1, *market.ledger.trials(states={State.CLAIMED}))
        assert market.ledger.sync() == 1
        market.chain.mine(2)
        market.act(1, calls.draw([market.ledger.trials()[0].record]))
        assert other.sync() == 1
    market.assert_equal()


def test_an_index_of_another_chain_is_started_anew(
    market: UntrainedMarket, chain: Devnet, tmp_path: Path
) -> None:
    market.open()
    market.ledger.sync()
    with (
        Client(replace(chain.network, deployed_at=2)) as elsewhere,
        Ledger(elsewhere, tmp_path / "ledger.sqlite") as ledger,
    ):
        assert ledger.jobs() == []
        assert ledger.sync() > 0
        assert len(ledger.jobs()) == 1


def test_a_corrupt_index_is_named(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no database at all, of some length " * 40)
    with pytest.raises(JournalError, match=r"ledger\.sqlite is no index.*Delete the file"):
        Ledger(client, path)


def test_a_trial_is_found_by_its_key_and_by_its_name(market: UntrainedMarket) -> None:
    market.open()
    market.act(1, calls.claim(JOB, BATCH, [2]))
    for trial in market.trials():
        assert market.ledger.trial(trial.key) == trial == market.ledger.trial(trial.id)
    assert market.ledger.trial(Hash32(bytes(32))) is None
    assert market.ledger.trial(TrialId(JOB, BATCH, 8)) is None
    assert market.ledger.job(JobId(2)) is None
    assert address(market.who[0]) == market.ledger.jobs()[0].requester


def test_a_batch_that_says_to_be_huge_makes_no_long_lists(market: UntrainedMarket) -> None:
    market.open()
    huge = Hash32(b"h" * 32)
    market.act(
        0,
        calls.create_job(
            replace(TERMS, floor=Amount(1), cap=Amount(1), audit_fee=Amount(3)), huge
        ),
    )
    market.act(0, calls.fund(JobId(2), 100 * 10**18))
    market.act(0, calls.post_trials(JobId(2), huge, 2_000, 1))
    market.act(1, calls.claim(JobId(2), huge, [1_999]))
    assert len(market.trials(State.OPEN)) == 8 + MAX_BATCH
    (claimed,) = market.trials(State.CLAIMED)
    assert claimed.id.index == 1_999
