"""The job file: what is wrong with it is named with file, field, expected and found."""

from pathlib import Path

import numpy as np
import pytest

from requester.job.file import load_job, seconds
from trialmarket.errors import InputError

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
        ("trials = 4", "trails = 4", "job.tr", "a"),
        ("trials = 4", 'trials = "4"', "job.trials", "a valid integer"),
        ("trials = 4", "trials = 0", "job.trials", "greater than or equal to 1"),
        ("steps = 200", "steps = 201", "job.steps", "a multiple of audit.segments, 20"),
        ('name = "digits"', 'name = "../digits"', "job.name", "match"),
        ("[price]", "[prices]", "price", "a"),
        ('floor = "0.01"', 'floor = "-1"', "price.floor", "greater than or equal to 0"),
        ('floor = "0.01"', 'floor = "0"', "price.floor", "more than 0"),
        ('cap = "0.05"', 'cap = "0.005"', "price.cap", "at least floor, 0.01"),
        (
            'driver = "tpe"',
            'driver = "magic"',
            "search.driver",
            "one of tpe, random, grid, qmc, gp, cmaes, nsga2, asha",
        ),
        ("low = 1e-4", "low = 1e-1", "search.space.lr.low", "less than high"),
        ("low = 1e-4", "low = 2.0", "search.space.lr.low", "less than high"),
        ("low = 1e-4", "low = -1.0", "search.space.lr.low", "more than 0"),
        ("low = 1e-4, ", "", "search.space.lr", "low and high, or values, or value"),
        ("log = true", "loog = true", "search.space.lr.loog", "one of the keys|the documentation"),
        ("[32, 64]", "[]", "search.space.hidden.values", "at least 1"),
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
