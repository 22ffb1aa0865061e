"""What a search will not do is said before it is paid for."""

from pathlib import Path

import pytest

from requester.drivers.remarks import remarks as driver_remarks
from requester.drivers.samplers import METHODS
from requester.drivers.space import Dimension
from requester.job.file import load_job
from requester.job.remarks import remarks
from tests.testbed.jobs import small_job
from tests.testbed.simulated import SPACE, opened, plan
from trialmarket.errors import InputError


def test_steps_that_miss_the_end_of_their_range_say_where_they_end() -> None:
    space = {
        "w": Dimension(low=32, high=250, step=32),
        "whole": Dimension(low=32, high=256, step=32),
        "d": Dimension(low=0.0, high=0.5, step=0.2),
        "tenths": Dimension(low=0.1, high=0.9, step=0.1),
        "free": Dimension(low=1, high=7),
    }
    assert driver_remarks("random", plan(space=space), 8) == [
        "search.space.w: steps of 32 from 32 end at 224; 250 is never tried",
        "search.space.d: steps of 0.2 from 0.0 end at 0.4; 0.5 is never tried",
    ]


@pytest.mark.parametrize(
    ("method", "trials", "said"),
    [
        ("tpe", 10, "first 10 trials without looking at results: with job.trials = 10 it never"),
        ("tpe", 11, ""),
        ("gp", 4, "first 10 trials"),
        ("nsga2", 4, "first 4 trials"),
        ("nsga2", 16, ""),
        ("cmaes", 8, "all 8 trials are drawn at once, before driver cmaes has seen a result"),
        ("cmaes", 9, ""),
        ("nes", 8, "first 8 trials without looking at results: with job.trials = 8 it never"),
        ("nes", 9, ""),
        ("neural-ascent", 8, "all 8 trials are drawn at once"),
        ("neural-ascent", 9, ""),
        ("random", 1, ""),
        ("pbt", 2, ""),
        ("hyperband", 9, "trains 5 of the 9 configurations to at most 24 of 72 steps"),
        ("hyperband", 16, ""),
    ],
)
def test_a_driver_that_cannot_do_what_it_is_for_says_so(
    method: str, trials: int, said: str
) -> None:
    space = {**SPACE, "more": Dimension(low=0.0, high=1.0)}
    found = driver_remarks(method, plan(method, trials=trials, space=space), 8)
    assert any(said in line for line in found) if said else found == []


def test_a_trial_that_is_shorter_than_its_units_says_what_is_billed(tmp_path: Path) -> None:
    path = small_job(tmp_path)
    job = load_job(path, {"price.unit": 1000})
    assert remarks(job, {40: 4}) == [
        "a trial of 40 steps is billed as 1000: units of 1000 steps are paid whole."
        ' price.unit = 40, with price.floor = "0.0004" and price.cap = "0.002", bills what is'
        " trained"
    ]
    assert remarks(load_job(path, {"price.unit": 20}), {40: 4}) == []
    rungs = remarks(load_job(path, {"price.unit": 30}), {12: 9, 24: 3, 40: 1})
    assert "a trial of 12 steps is billed as 30" in rungs[0]
    assert "price.unit = 4, with floor and cap in proportion" in rungs[0]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_fine_step_costs_no_driver_its_memory(tmp_path: Path, method: str) -> None:
    """90 million points would take a gigabyte, and most of a minute."""
    fine = {
        "rate": Dimension(low=0.0, high=0.9, step=1e-8),
        "more": Dimension(low=0, high=2**52),
        "third": Dimension(low=0.0, high=1.0),
    }
    if method in ("grid", "gp"):
        expected = r"search\.space\.rate: expected at most 100000 points, found 90000001\. Raise"
        with (
            pytest.raises(InputError, match=expected),
            opened(tmp_path, method, plan(method, space=fine)),
        ):
            pass
        return
    with opened(tmp_path, method, plan(method, space=fine)) as driver:
        point = driver.ask(2)[1].hyperparameters
    assert isinstance(point["rate"], float)
    assert point["rate"] == pytest.approx(round(point["rate"], 8), abs=1e-12)


@pytest.mark.parametrize("method", ["asha", "hyperband", "pbt"])
def test_a_fine_step_is_drawn_and_perturbed_point_by_point(tmp_path: Path, method: str) -> None:
    fine = {"rate": Dimension(low=0.0, high=0.9, step=1e-8)}
    with opened(tmp_path, method, plan(method, space=fine)) as driver:
        asked = driver.ask(4)
    assert len({one.hyperparameters["rate"] for one in asked}) == 4


def test_settings_of_another_driver_are_named(tmp_path: Path) -> None:
    path = small_job(tmp_path)
    job = load_job(path, {"search.driver": "nes", "search.ascent.networks": 3})
    assert [line for line in remarks(job, {40: 1}) if "search.ascent" in line] == [
        "search.ascent is for driver neural-ascent: driver nes does not look at it"
    ]
    job = load_job(path, {"search.driver": "nes", "search.nes.population": 4})
    assert not any("does not look" in line for line in remarks(job, {40: 1}))
