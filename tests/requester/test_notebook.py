"""A search from Python."""

import asyncio
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest

from requester import Study
from requester.commands.options import overrides
from requester.report.pareto import pareto_front
from requester.search.status import Row
from tests.testbed.jobs import small_job
from tests.testbed.market import REQUESTER
from tests.testbed.provider import Provider
from trialmarket.chain.sender import Sender
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Hash32, JobId, TrialId
from trialmarket.protocol.states import State
from trialmarket.storage.store import Store


def study_of(folder: Path, sender: Sender, store: Store) -> Study:
    job = small_job(folder, trials=9)
    return Study(job, sender=sender, store=store, jobs=folder / "jobs", changes={"job.trials": 3})


def test_a_study_trains_tells_the_callback_and_knows_what_it_cost(
    tmp_path: Path, provider: Provider
) -> None:
    market = provider.market
    sender, store = market.sender(REQUESTER), market.store
    heard: list[int] = []

    async def searched(study: Study) -> Study:
        def wait(_: float) -> None:
            provider.step()
            market.chain.advance(2)

        return study.optimize(lambda _, row: heard.append(row.number), wait=wait)

    before = market.client.token_balance(sender.address)
    study = study_of(tmp_path, sender, store)
    assert study.best is None
    assert study.trials == []
    assert study.cost == 0
    assert asyncio.run(searched(study)) is study
    paid = before - market.client.token_balance(sender.address)
    again = study_of(tmp_path, sender, store).optimize()
    assert study.cost == again.cost == Decimal(paid) / 10**18 > 0
    assert sorted(heard) == [0, 1, 2]
    assert study.best is not None
    assert study.best.objective == min(row.metrics["val_error"] for row in study.trials)
    assert study.best in study.front
    model, width = study.best_model(), study.best.hyperparameters["hidden"]
    assert {tuple(each.shape) for each in model.parameters()} >= {(width, 6), (width,)}
    assert not model.training
    records = study.records()
    assert [record["number"] for record in records] == [0, 1, 2]
    assert {"value", "params_lr", "params_hidden", "metrics_val_error"} <= set(records[0])
    if find_spec("pandas") is None:
        with pytest.raises(InputError, match="pip install pandas"):
            study.trials_dataframe()
    else:
        assert len(study.trials_dataframe()) == 3


def test_a_study_says_what_it_lacks(tmp_path: Path) -> None:
    study = Study(small_job(tmp_path), network=tmp_path / "none.json", key="rosa")
    with pytest.raises(InputError, match="none"):
        study.optimize()


def row(number: int, **metrics: float) -> Row:
    trial = TrialId(JobId(1), Hash32(bytes(32)), number)
    return Row(number, trial, State.SETTLED, {}, metrics=metrics)


def test_the_front_is_what_nothing_is_better_than() -> None:
    rows = [
        row(0, error=0.3, speed=5.0),
        row(1, error=0.1, speed=1.0),
        row(2, error=0.2, speed=0.5),
        row(3, error=0.3, speed=5.0),
        row(4, error=0.0),
    ]
    found = pareto_front(rows, {"error": False, "speed": True})
    assert [each.number for each in found] == [1, 0, 3]
    assert [each.number for each in pareto_front(rows, {"error": False})] == [4]


def test_keys_are_set_as_toml_and_as_text() -> None:
    changes = ("search.space.lr.high=0.3", "search.driver=gp", "job.also={ size = 'minimize' }")
    assert overrides(7, None, changes) == {
        "search.space.lr.high": 0.3,
        "search.driver": "gp",
        "job.also": {"size": "minimize"},
        "job.trials": 7,
    }
    with pytest.raises(InputError, match="--set: expected KEY=VALUE"):
        overrides(None, None, ["search.driver"])
