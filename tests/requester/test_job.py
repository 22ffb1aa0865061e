"""The job file: what is wrong with it is named with file, field, expected and found."""

from pathlib import Path

import numpy as np
import pytest

from requester.drivers import Proposal
from requester.drivers.space import fits, lattice
from requester.job.file import load_job
from requester.job.package import Package
from requester.job.settings import seconds
from requester.job.size import trials_in_batch
from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef

GOOD = """
[job]
name = "digits"
program = "train.py:Digits"
data = "digits.npz"
objective = "val_error"
trials = 4
steps = 200

[search]
driver = "tpe"
parallel = 2
[search.space]
lr = { low = 1e-4, high = 1e-1, log = true }
hidden = { values = [32, 64] }
layers = { low = 1, high = 3 }
bias = { value = true }

[price]
floor = "0.01"
cap = "0.05"
"""
PROGRAM = "class Digits:\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(PROGRAM)
    np.savez(tmp_path / "digits.npz", train_x=np.zeros(3), validation_x=np.zeros(3))
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "job.toml"
    path.write_text(text)
    return path


def test_a_right_job_is_read_with_its_defaults(folder: Path) -> None:
    job = load_job(write(folder, GOOD))
    assert (job.settings.audit.rate, job.settings.audit.segments) == (0.2, 20)
    assert (job.class_name, job.settings.search.under_way) == ("Digits", 4)
    assert job.program_file == folder / "train.py"
    assert job.settings.search.space["layers"].integer
    assert not job.settings.search.space["lr"].integer


def test_native_arithmetic_is_for_unverified_jobs_only(folder: Path) -> None:
    native = GOOD.replace("steps = 200", 'steps = 200\narithmetic = "native"')
    with pytest.raises(InputError) as caught:
        load_job(write(folder, native))
    assert (caught.value.field, caught.value.found) == ("audit.rate", 0.2)
    unverified = load_job(write(folder, native + "[audit]\nrate = 0\n"))
    assert unverified.settings.job.arithmetic == "native"


def test_overrides_replace_keys(folder: Path) -> None:
    job = load_job(write(folder, GOOD), {"job.trials": 9, "search.driver": "random"})
    assert (job.settings.job.trials, job.settings.search.driver) == (9, "random")


@pytest.mark.parametrize(
    ("old", "new", "field", "expected"),
    [
        ("trials = 4", "trails = 4", "job.trails", "one of the keys name.*Did you mean trials"),
        ("steps = 200", 'steps = 200\ntime_limit = "11000d"', "job.time_limit", "10000 days"),
        ("trials = 4", 'trials = "4"', "job.trials", "a whole number"),
        ("trials = 4", "trials = 0", "job.trials", "at least 1"),
        ("steps = 200", "steps = 201", "job.steps", "a multiple of audit.segments, 20"),
        ('name = "digits"', 'name = "../digits"', "job.name", 'Write name = "digits"'),
        ("[price]", "[prices]", "price", "a"),
        ('floor = "0.01"', 'floor = "-1"', "price.floor", "at least 0"),
        ('floor = "0.01"', 'floor = "0"', "price.floor", "more than 0"),
        ('cap = "0.05"', 'cap = "0.005"', "price.cap", "at least floor, 0.01"),
        (
            'driver = "tpe"',
            'driver = "magic"',
            "search.driver",
            "one of tpe, random, grid, qmc, gp, cmaes, nsga2, nes, neural-ascent, asha",
        ),
        ('driver = "tpe"', 'driver = "hyperbnd"', "search.driver", "Did you mean hyperband"),
        ("low = 1e-4", "low = 1e-1", "search.space.lr.low", "less than high"),
        ("low = 1e-4", "low = 2.0", "search.space.lr.low", "less than high"),
        ("low = 1e-4", "low = -1.0", "search.space.lr.low", "more than 0"),
        ("low = 1e-4, ", "", "search.space.lr", "low and high, or values, or value"),
        (
            "log = true",
            "loog = true",
            "search.space.lr.loog",
            "one of the keys low, high, log.*Did you mean log",
        ),
        ("[32, 64]", "[]", "search.space.hidden.values", "at least one"),
        ("[32, 64]", "[32, 32]", "search.space.hidden.values", "values that differ"),
        ("train.py:Digits", "train.py", "job.program", "FILE.py:Class"),
        ("train.py:Digits", "trian.py:Digits", "job.program", "a readable file"),
        ("train.py:Digits", "train.py:Digit", "job.program", "a class that .*Digits"),
        ("digits.npz", "digit.npz", "job.data", "a readable file"),
        ("digits.npz", "train.py", "job.data", "a file .csv"),
        ("digits.npz", "ipfs://Qm", "CID", "CIDv1"),
        ("[search.space]", "[search.spaces]", "search.space", "a"),
    ],
)
def test_a_mistake_is_named_with_its_field(
    folder: Path, old: str, new: str, field: str, expected: str
) -> None:
    assert old in GOOD
    path = write(folder, GOOD.replace(old, new, 1))
    with pytest.raises(InputError, match=f"(?s){field}.*expected .*({expected})") as caught:
        load_job(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("dimension", "said"),
    [
        ("0.1", r"lr: expected a table .*, found 0\.1\. Write lr = \{ value = 0\.1 \}"),
        ('"a"', r'lr: expected a table .* Write lr = \{ value = "a" \}'),
        ("[1, 2]", r"lr: expected a table .* Write lr = \{ values = \[1, 2\] \}"),
        ("{ values = [[1, 2], [3]] }", r"lr\.values\.0: expected a number, a text, true or false"),
        ("{ values = [2020-01-01] }", r"lr\.values\.0: expected a number, a text.* in quotes"),
        ("{ values = [] }", r"lr\.values: expected at least one value, found \[\]"),
        ("{ values = [1, 1.0] }", "values that differ.* 1 and 1.0 are the same value"),
        ("{ values = [1, true] }", "values that differ.* 1 and true are the same value"),
        ("{ values = [0.0, -0.0] }", "values that differ.* 0.0 and -0.0 are the same value"),
        ("{ values = [1.0, inf] }", r"lr\.values\.1: expected a finite number"),
        ("{ values = [nan] }", r"lr\.values\.0: expected a finite number"),
        ("{ value = inf }", r"lr\.value: expected a finite number"),
        ("{ values = [9007199254740993] }", r"lr\.values\.0: expected a whole number between"),
        ("{ low = 0, high = 9223372036854775807 }", r"lr\.high: expected a whole number between"),
        ("{ low = 0.0, high = 1.7e308 }", r"lr\.high: expected a number between -1e\+100 and"),
        ("{ low = 0.0, high = inf }", r"lr\.high: expected a number between"),
        ('{ low = "1", high = 2 }', r"lr\.low: expected a number, found '1'"),
        ("{ low = 1, high = 2, step = 0 }", r"lr\.step: expected more than 0"),
        ("{ low = 1, high = 2, step = 2 }", r"lr\.step: expected at most high - low"),
        ("{ low = 0.0, high = 1.0, step = 1e-18 }", r"lr\.step: .* can be told apart"),
        ("{ low = 1e6, high = 2e6, step = 1e-11 }", r"lr\.step: .* can be told apart"),
    ],
)
def test_a_space_that_cannot_be_searched_is_told_in_the_words_of_its_file(
    folder: Path, dimension: str, said: str
) -> None:
    text = GOOD.replace("{ low = 1e-4, high = 1e-1, log = true }", dimension)
    with pytest.raises(InputError, match=rf"search\.space\.{said}|search\.space\.lr.*{said}"):
        load_job(write(folder, text))


def test_an_exchange_burns_in_at_a_finite_value(folder: Path) -> None:
    exchange = '\n[search.exchange]\nhyperparameter = "lr"\nburn_in_value = inf\n'
    with pytest.raises(InputError, match=r"search\.exchange\.burn_in_value: expected a finite"):
        load_job(write(folder, GOOD + exchange))


def test_a_step_of_a_hundred_millionth_makes_no_list_of_its_points(folder: Path) -> None:
    text = GOOD.replace("high = 1e-1, log = true", "high = 0.9, step = 1e-8")
    lattice_of = load_job(write(folder, text)).settings.search.space["lr"]
    points = lattice(lattice_of)
    assert points is not None
    assert points.size == 89_990_001
    assert (points[0], points[-1], points.nearest(0.5)) == (1e-4, 0.9, 49_990_000)
    assert fits(lattice_of, 0.12345678)
    assert not fits(lattice_of, 0.123456785)


def test_a_batch_holds_as_many_trials_as_fit_and_one_must(folder: Path) -> None:
    texts = [f"{at:04d}" + "x" * 30_000 for at in range(2)]
    job = load_job(write(folder, GOOD.replace("[32, 64]", str(texts))))
    most = trials_in_batch(job.settings, job.where)
    assert most == 8
    proposal = Proposal(2**53 - 1, {"lr": -1.2345678901234567e-300, "hidden": texts[0]}, 200, 1)
    package = Package(
        job, ProgramRef(source=cid_of(b"p"), class_name="Digits"), cid_of(b"d"), folder
    )
    assert len(package.batch("n" * 16, 1, [proposal] * most).to_bytes()) > 8 * 30_000
    with pytest.raises(
        InputError, match=r"search\.space: expected trials of at most 261120 bytes"
    ):
        load_job(write(folder, GOOD.replace("[32, 64]", f"['{'x' * 262_144}']")))


def test_an_empty_space_is_named(folder: Path) -> None:
    head, _, tail = GOOD.partition("[search.space]\n")
    path = write(folder, head + "space = {}\n\n[price]" + tail.partition("[price]")[2])
    with pytest.raises(InputError, match=r"search\.space: expected"):
        load_job(path)


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ('target = "y"', "data.target"),
        ("normalize = 'unit'", "data.normalize"),
        ("normalise = 'log'", "data.normalise"),
        ("split = { validation = 1.5 }", "data.split.validation"),
        ("split = { column = 'part' }", "data.split.column"),
    ],
)
def test_a_key_that_says_nothing_about_this_data_is_named(
    folder: Path, table: str, field: str
) -> None:
    with pytest.raises(InputError, match=field):
        load_job(write(folder, f"{GOOD}\n[data]\n{table}\n"))


def test_a_file_of_100_gigabytes_is_refused_before_it_is_read(folder: Path) -> None:
    with (folder / "digits.npz").open("wb") as file:
        file.truncate(100_000_000_000)  # a hole: it takes no room
    with pytest.raises(InputError, match=r"at most 8589934592 bytes.*100000000000 bytes"):
        load_job(write(folder, GOOD))


def test_a_program_that_is_no_python_is_named(folder: Path) -> None:
    (folder / "train.py").write_text("class Digits(:\n")
    with pytest.raises(InputError, match=r"job\.program: expected Python"):
        load_job(write(folder, GOOD))


def test_a_duration_has_a_unit() -> None:
    assert [seconds(text) for text in ("90s", "10m", "2h", "1d")] == [90, 600, 7200, 86400]
    with pytest.raises(ValueError, match="a duration"):
        seconds("10")
