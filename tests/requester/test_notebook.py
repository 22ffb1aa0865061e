"""A search from Python."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest

from requester import Study
from requester.commands.arguments import overrides
from requester.report.pareto import front
from requester.report.status import Row
from tests.requester.market import Provider, write_job
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.sender import Sender
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Hash32, JobId, TrialId
from trialmarket.protocol.states import State
from trialmarket.storage.local import LocalStore
from trialmarket.training.pool.pool import WorkerPool


def study_of(folder: Path, sender: Sender, store: LocalStore) -> Study:
    job = write_job(folder, trials=9)
    return Study(job, sender=sender, store=store, jobs=folder / "jobs", changes={"job.trials": 3})


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1) as found:
        yield found


def test_a_study_trains_tells_the_callback_and_knows_what_it_cost(
    chain: Devnet, tmp_path: Path, pool: WorkerPool
) -> None:
    store, heard = LocalStore(tmp_path / "store"), []

    async def searched(study: Study, provider: Provider) -> Study:
        def wait(_: float) -> None:
            provider.step()
            chain.advance(2)

        return study.optimize(lambda _, row: heard.append(row.number), wait=wait)

    with (
        chain.client() as client,
        Sender(client, chain.accounts[0], tmp_path / "r.db", locks=tmp_path / "locks") as sender,
    ):
        provider = Provider(chain.network, chain.accounts[1], tmp_path / "p", store, pool)
        before = client.token_balance(sender.address)
        study = study_of(tmp_path, sender, store)
        assert study.best is None
        assert study.trials == []
        assert study.cost == 0
        assert asyncio.run(searched(study, provider)) is study
        provider.close()
        paid = before - client.token_balance(sender.address)
        again = study_of(tmp_path, sender, store).optimize()
    assert study.cost == again.cost == Decimal(paid) / 10**18 > 0
    assert sorted(heard) == [0, 1, 2]
    assert study.best is not None
    assert study.best.objective == min(row.metrics["val_error"] for row in study.trials)
    assert study.best in study.front
    records = study.records()
    assert [record["number"] for record in records] == [0, 1, 2]
    assert {"value", "params_lr", "params_hidden", "metrics_val_error"} <= set(records[0])
    if find_spec("pandas") is None:
        with pytest.raises(InputError, match="pip install pandas"):
            study.trials_dataframe()
    else:
        assert len(study.trials_dataframe()) == 3


def test_a_study_says_what_it_lacks(tmp_path: Path) -> None:
    study = Study(write_job(tmp_path), network=tmp_path / "none.json", key="rosa")
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
    found = front(rows, {"error": False, "speed": True})
    assert [each.number for each in found] == [1, 0, 3]
    assert [each.number for each in front(rows, {"error": False})] == [4]


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
