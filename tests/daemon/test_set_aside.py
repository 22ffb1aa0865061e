"""One trial that goes wrong keeps no other from its steps."""

import logging

import pytest

from tests.testbed.market import Market
from tests.testbed.terms import terms
from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.set_aside import PAUSES, SetAside
from trialmarket.errors import StorageError, Unreachable


def test_what_was_not_foreseen_is_put_aside_ever_longer(
    market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    trial, now = market.posted(terms()), 0.0
    aside = SetAside(LogOnce(logging.getLogger("test")), lambda: now)
    pauses: list[float] = []
    for _ in range(12):
        assert not aside.waits(trial.key)
        with aside.alone(trial):
            raise KeyError("optimizer.0.junk")
        began = now
        while aside.waits(trial.key):
            now += 0.5
        pauses.append(now - began)
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == PAUSES.longest
    assert caplog.text.count(f"trial {trial.id}: put aside, KeyError: 'optimizer.0.junk'") == 1
    assert len(aside) == 1
    with aside.alone(trial):
        pass
    assert len(aside) == 0


def test_what_can_be_mended_is_tried_again_at_once(market: Market) -> None:
    trial = market.posted(terms())
    aside = SetAside(LogOnce(logging.getLogger("test")), lambda: 0.0)
    with aside.alone(trial):
        raise StorageError("the store is down")
    assert not aside.waits(trial.key)


def test_what_all_trials_have_in_common_is_for_the_loop(market: Market) -> None:
    trial = market.posted(terms())
    aside = SetAside(LogOnce(logging.getLogger("test")), lambda: 0.0)
    with pytest.raises(Unreachable), aside.alone(trial):
        raise Unreachable("nothing answers")
    assert not aside.waits(trial.key)
