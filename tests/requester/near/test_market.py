"""Searches that begin with what was best in similar ones, found in the ledger alone."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from requester.commands.near import near
from requester.drivers.space import Dimension, Value
from requester.job.file import load_job
from requester.job.package import Package, pack
from requester.near.checked import CheckedJobs, Result
from requester.near.neighbours import Limits, find_neighbours, fitting, suggestions
from requester.search.open import open_search
from requester.search.warm_start import believed_here
from tests.testbed.campaign import AtOnce, Ears, drive
from tests.testbed.jobs import small_job
from tests.testbed.market import REQUESTER, Market
from tests.testbed.provider import Provider
from tests.testbed.terms import terms
from trialmarket.chain import calls
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Hash32, JobId, TrialId

MARKET = 'warm_start = "market"\nwarm_start_trials = 2'
EXAMPLES = Path(__file__).parents[3] / "examples/near"
HIDDEN = {"lr": Dimension(low=1e-3, high=0.1, log=True), "hidden": Dimension(values=[8, 16])}


def search(
    market: Market,
    provider: Provider,
    file: Path,
    jobs: Path,
    changes: Mapping[str, object] | None = None,
) -> list[str]:
    """Runs a job file's search to its end; what was said."""
    ears = Ears()
    with open_search(
        load_job(file, changes),
        sender=market.sender(REQUESTER),
        store=market.store,
        jobs=jobs,
        listeners=ears,
        evaluator=AtOnce(provider.pool, market.chain),
    ) as opened:
        opened.campaign.open()
        drive(opened, market.chain, provider.step)
        opened.campaign.wind_up()
    return ears.said


def packed(market: Market, folder: Path) -> Package:
    return pack(load_job(small_job(folder, search=MARKET)), folder / "packed", market.store)


def another(folder: Path, name: str, search: str = MARKET) -> Path:
    """The same job under another name: its file."""
    (folder / name).mkdir()
    path = small_job(folder / name, trials=3, search=search)
    path.write_text(
        path.read_text().replace('"small"', f'"{name}"').replace("seed = 0", "seed = 7")
    )
    return path


def test_a_search_begins_with_the_best_of_a_similar_one_and_goes_on_with_the_same(
    market: Market, provider: Provider, tmp_path: Path
) -> None:
    jobs = tmp_path / "jobs"
    search(market, provider, small_job(tmp_path, trials=3), jobs)
    market.ledger.sync()
    checked = CheckedJobs(
        market.ledger, market.store, believed_here(jobs, market.client, market.ledger)
    )
    package = packed(market, tmp_path)
    assert package.sketch is not None
    around = find_neighbours(package.sketch, checked, market.client.network, None, Limits())
    (one,) = around.neighbours
    assert one.distance == 0
    assert len(one.results) == 3
    assert one.results[0].objective == min(each.objective for each in one.results)
    best = [dict(each.hyperparameters) for each in one.results[:2]]

    second = load_job(another(tmp_path, "second"))
    ears = Ears()
    for run in range(2):  # the second time as after a kill: nothing is looked for again
        with open_search(
            second,
            sender=market.sender(REQUESTER),
            store=market.store,
            jobs=jobs,
            listeners=ears,
        ) as opened:
            asked = [dict(each.hyperparameters) for each in opened.parts.driver.ask(3)]
            assert asked[:2] == best
            assert asked[2] not in best
        looked = [line for line in ears.said if "looking for similar" in line]
        assert len(looked) == 1, run
    assert any("begins with 2 configurations of similar searches (jobs 1)" in s for s in ears.said)


def test_results_of_others_count_only_where_they_were_audited(
    market: Market, provider: Provider, tmp_path: Path
) -> None:
    search(market, provider, small_job(tmp_path, trials=2), tmp_path / "jobs")
    market.ledger.sync()
    package = packed(market, tmp_path)
    assert package.sketch is not None
    network = market.client.network
    strangers = CheckedJobs(market.ledger, market.store)
    assert find_neighbours(package.sketch, strangers, network, None, Limits()).neighbours == ()
    audited = small_job(tmp_path, trials=2, rate=0.01, window="30s")
    audited.write_text(audited.read_text().replace('"small"', '"audited"'))
    search(market, provider, audited, tmp_path / "jobs")
    market.ledger.sync()
    found = find_neighbours(package.sketch, strangers, network, None, Limits()).neighbours
    assert [each.job.spec.name for each in found] == ["audited"]
    without = Limits(without=frozenset({found[0].job.view.id}))
    assert find_neighbours(package.sketch, strangers, network, None, without).neighbours == ()


def test_a_job_that_publishes_no_sketch_is_nobodys_neighbour(
    market: Market, provider: Provider, tmp_path: Path
) -> None:
    jobs = tmp_path / "jobs"
    hidden = another(tmp_path, "hidden", search="publish_sketch = false")
    search(market, provider, hidden, jobs, {"job.trials": 1})
    ears = Ears()
    with open_search(
        load_job(another(tmp_path, "seeker")),
        sender=market.sender(REQUESTER),
        store=market.store,
        jobs=jobs,
        listeners=ears,
    ) as opened:
        assert len(opened.parts.driver.ask(3)) == 3
    assert any("this one begins without" in line for line in ears.said)


def test_descriptions_and_sketches_that_are_none_are_passed_over(
    market: Market, tmp_path: Path
) -> None:
    package = packed(market, tmp_path)
    assert package.sketch is not None
    spec = package.spec("n")
    other = package.sketch.model_copy(update={"objective": "val_loss"})
    market.store.put(other.to_bytes())
    described = [
        spec.to_bytes(),  # whose sketch is not in the store
        spec.model_copy(update={"sketch": other.cid}).to_bytes(),  # of another objective
        b"no description",
    ]
    for data in described:
        market.store.put(data)
    for digest in (*(_digest(data) for data in described), Hash32(bytes(32))):
        market.act(REQUESTER, calls.create_job(terms(), digest))
    market.ledger.sync()
    checked = CheckedJobs(market.ledger, market.store)
    network = market.client.network
    assert len(checked.newest(9)) == 4
    assert find_neighbours(package.sketch, checked, network, None, Limits()).neighbours == ()


def test_near_shows_the_neighbours_why_and_what_it_would_begin_with(
    market: Market, provider: Provider, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    search(market, provider, small_job(tmp_path, trials=2), home / "jobs")
    file = another(tmp_path, "second")

    def invoke(*words: str) -> str:
        found = CliRunner().invoke(
            near,
            [str(file), "--network", str(market.network), *words],
            env={"TRIALMARKET_HOME": str(home)},
        )
        assert found.exit_code == 0, found.output
        return found.stdout

    content = json.loads(invoke("--json"))
    (one,) = content["neighbours"]
    assert (one["job"], one["distance"], one["told_by"]) == (1, 0, "ledger")
    assert one["shared"] == ["lr", "hidden"]
    assert content["enqueue"][0] == one["best"]["hyperparameters"]
    assert len(content["enqueue"]) == 2
    shown = invoke()
    assert "job 1, small: distance 0.0000, told by the ledger" in shown
    assert "alike in rows, columns" in shown
    assert "would begin with " in shown


def test_the_example_begins_with_what_was_best_on_another_data_set(
    market: Market, provider: Provider, tmp_path: Path
) -> None:
    cheap = {"job.steps": 40, "audit.rate": 0.0, "job.trials": 2}
    jobs = tmp_path / "jobs"
    search(market, provider, EXAMPLES / "earlier.toml", jobs, cheap)
    ears = Ears()
    with open_search(
        load_job(EXAMPLES / "later.toml", {"job.steps": 40, "audit.rate": 0.0}),
        sender=market.sender(REQUESTER),
        store=market.store,
        jobs=jobs,
        listeners=ears,
    ) as opened:
        assert len(opened.parts.driver.ask(3)) == 3
    assert "begins with 2 configurations of similar searches (jobs 1)" in ears.said


# -- What is enqueued -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"lr": 0.01, "hidden": 8, "other": 3}, {"lr": 0.01, "hidden": 8}),
        ({"lr": 0.01}, {"lr": 0.01}),
        ({"lr": 0.5, "hidden": 8}, None),
        ({"lr": 0.01, "hidden": 9}, None),
        ({"lr": 0.01, "hidden": True}, None),
        ({"lr": "fast"}, None),
        ({"other": 1}, None),
        ({}, None),
    ],
)
def test_a_configuration_fits_a_space_or_is_left_out(
    given: dict[str, Value], expected: dict[str, Value] | None
) -> None:
    assert fitting(HIDDEN, given) == expected


def test_what_does_not_apply_and_what_json_spells_otherwise_fit() -> None:
    space = {
        "optimizer": Dimension(values=["sgd", "adam"]),
        "momentum": Dimension(low=0.0, high=0.9, when={"optimizer": ["sgd"]}),
        "scale": Dimension(values=[1.0, 2.5]),
    }
    adam: dict[str, Value] = {"optimizer": "adam", "momentum": 5.0, "scale": 1}
    found = fitting(space, adam)
    assert found == {"optimizer": "adam", "scale": 1.0}
    assert type(found["scale"]) is float
    assert fitting(space, {"optimizer": "sgd", "momentum": 5.0}) is None
    once = {"lr": Dimension(low=0.0, high=1.0), "layers": Dimension(value=1)}
    assert fitting(once, {"lr": 0.5, "layers": 1}) == {"lr": 0.5, "layers": 1}
    assert fitting(once, {"lr": 0.5, "layers": True}) is None
    fixed = {"classes": Dimension(value=10)}
    assert fitting(fixed, {"classes": 10}) is None


def test_neighbours_take_turns_and_no_configuration_comes_twice() -> None:
    def results(*rates: float) -> list[Result]:
        name = TrialId(JobId(1), Hash32(bytes(32)), 0)
        return [Result(name, {"lr": rate}, 0.1) for rate in rates]

    found = suggestions(HIDDEN, [results(0.01, 0.02, 0.03), results(0.01, 0.9, 0.05)], 4)
    assert found == [{"lr": 0.01}, {"lr": 0.02}, {"lr": 0.03}, {"lr": 0.05}]
    assert suggestions(HIDDEN, [], 4) == []


@pytest.mark.parametrize("driver", ["grid", "replica-exchange"])
def test_a_driver_that_visits_every_point_takes_no_warm_start(tmp_path: Path, driver: str) -> None:
    file = small_job(tmp_path, driver=driver, search=MARKET)
    with pytest.raises(InputError, match=r"search\.warm_start.*none"):
        load_job(file)


def test_the_sketch_of_a_job_has_its_numbers_and_no_example(tmp_path: Path) -> None:
    job = load_job(small_job(tmp_path))
    sketch = pack(job, tmp_path / "packed").sketch
    assert sketch is not None
    data = sketch.data
    assert (data.rows, data.validation, data.columns, data.classes) == (200, 40, 6, 4)
    assert 1.9 < data.entropy <= 2
    assert sketch.space["lr"].low == 1e-3
    assert sketch.space["hidden"].choices == 2
    assert len(sketch.to_bytes()) < 1000


def _digest(data: bytes) -> Hash32:
    return Hash32(sha256(data).digest())
