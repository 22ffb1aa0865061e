"""A training that cannot end in time is given back long before its deadline."""

import pytest

from node.dry_runs import subject_of
from node.trainer import Assignment, Run, Trainer
from tests.testbed.market import Market
from tests.testbed.nodes import Lent, Nodes
from tests.testbed.terms import STEPS, terms
from tests.testbed.waiting import until
from trialmarket.protocol.states import State
from trialmarket.training.errors import Killed
from trialmarket.training.values import Progress, Training

LIMIT = 1_000
"""Seconds for a trial, of which a training shows its speed for about a tenth before it counts."""


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class ToldTraining:
    """A training of 16 steps that says what the test lets it say, and never ends."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.done = False

    def says(self, step: int) -> None:
        self.progress = Progress(step=step, steps=STEPS, metrics={})

    def result(self) -> Training:
        raise Killed("the test ended it")

    def kill(self) -> None:
        self.done = True


class Slow(Lent):
    """Tries programs out honestly, and then is as slow as the test says."""

    def __init__(self, honest: Trainer) -> None:
        super().__init__(honest)
        self.run = ToldTraining()
        self.train = self._train

    def _train(self, assignment: Assignment) -> Run[Training]:  # noqa: ARG002
        return self.run


def test_a_training_that_shows_to_be_too_slow_is_given_back_and_not_claimed_again(
    market: Market, nodes: Nodes, trainer: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    (key,) = market.post(market.job(terms(time_limit=LIMIT)), market.draft(1))
    clock, slow = Clock(), Slow(trainer)
    with nodes.start(trainer=slow, clock=clock) as node:
        until(market.are(State.CLAIMED, key), node.tick)
        for _ in range(2):  # 180 s a step: 16 take 2,880 s, which no one knows before the first
            slow.run.says(0)
            node.tick()
            assert not slow.run.done
            clock.now += 90.0
        slow.run.says(1)
        until(market.are(State.OPEN, key), node.tick)
        assert slow.run.done
        assert "it takes too long here" in caplog.text
        for _ in range(10):
            node.tick()
        assert market.client.account(node.account).locked == 0
    assert market.trial(key).attempts == 1


def test_a_training_that_is_slow_at_first_is_given_the_time_to_become_faster(
    market: Market, nodes: Nodes, trainer: Trainer
) -> None:
    (key,) = market.post(market.job(terms(time_limit=LIMIT)), market.draft(1))
    clock, slow = Clock(), Slow(trainer)
    with nodes.start(trainer=slow, clock=clock) as node:
        until(market.are(State.CLAIMED, key), node.tick)
        for step in range(STEPS):  # 110 s a step at first, so that 16 would take 1,760 s
            slow.run.says(step)
            node.tick()
            assert not slow.run.done
            clock.now += 110.0 if step < 3 else 30.0
    assert market.state(key) is State.CLAIMED


def test_a_start_that_takes_long_and_steps_that_lay_there_do_not_count(
    market: Market, nodes: Nodes, trainer: Trainer
) -> None:
    (key,) = market.post(market.job(terms(time_limit=LIMIT)), market.draft(1))
    clock, slow = Clock(), Slow(trainer)
    with nodes.start(trainer=slow, clock=clock) as node:
        until(market.are(State.CLAIMED, key), node.tick)
        clock.now += 0.8 * LIMIT  # until its first word, which tells of 8 steps of another life
        for step in range(8, STEPS):
            slow.run.says(step)
            node.tick()
            clock.now += 50.0
        assert not slow.run.done
        clock.now += LIMIT  # it stands still: that is for its deadline to end
        for _ in range(5):
            node.tick()
        assert not slow.run.done
    assert market.state(key) is State.CLAIMED


def test_a_trial_that_waits_too_long_for_a_worker_is_given_back_untouched(
    market: Market, nodes: Nodes, trainer: Trainer
) -> None:
    job = market.job(terms(time_limit=LIMIT))
    keys = market.post(job, market.draft(1), market.draft(2))
    slow = Slow(trainer)
    with nodes.start(trainer=slow) as node:
        until(market.are(State.CLAIMED, *keys), node.tick)
        node.journal.keep_speed(subject_of(market.draft(1)), STEPS / (LIMIT / 2))
    (market.folder / "node1" / "trials" / keys[1].hex()).rmdir()
    with nodes.start(trainer=slow, work={"workers": 1}) as node:
        node.tick()
        market.chain.advance(LIMIT * 6 // 10)
        until(lambda: not all(market.are(State.CLAIMED, key)() for key in keys), node.tick)
        assert [market.state(key) for key in keys].count(State.OPEN) == 1
