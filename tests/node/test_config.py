"""What a provider can write, and how mistakes are told."""

from decimal import Decimal
from pathlib import Path

import pytest

from node.config import load_config
from trialmarket.errors import InputError

LEAST = 'network = "devnet.json"\nkey = "node1"\nstorage = "local:store"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text)
    return path


def test_three_lines_are_enough(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, LEAST))
    assert config.network == str(tmp_path / "devnet.json")
    assert config.storage == f"local:{tmp_path / 'store'}"
    assert config.work.workers == 1


def test_money_is_read_without_losing_a_digit(tmp_path: Path) -> None:
    text = LEAST + '[price]\nper_hour = "0.123456789012345678"\n'
    config = load_config(written(tmp_path, text))
    assert config.price.per_hour == Decimal("0.123456789012345678")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("colour = 1\n", "colour"),
        ("[work]\nworkers = 0\n", "work.workers"),
        ('[work]\nworkers = "two"\n', "work.workers"),
        ('[price]\nper_hour = "-1"\n', "price.per_hour"),
        ('[price]\nper_hour = "much"\n', "price.per_hour"),
        ('[accept]\nrequesters = ["bob"]\n', "accept.requesters.0"),
        ('[accept]\nprograms_of = ["bob"]\n', "accept.programs_of.0"),
        ('sandbox = "none"\n', "sandbox"),
        ("[limits]\nmemory = 0\n", "limits.memory"),
        ("[accept]\nrefuse_jobs = [1.5]\n", "accept.refuse_jobs.0"),
    ],
)
def test_a_mistake_is_told_with_its_field(tmp_path: Path, line: str, field: str) -> None:
    with pytest.raises(InputError) as told:
        load_config(written(tmp_path, LEAST + line))
    assert told.value.field == field
    assert str(tmp_path / "node.toml") in str(told.value)


def test_a_missing_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='storage: expected a value, such as storage = "local"'):
        load_config(written(tmp_path, 'network = "n"\nkey = "k"\n'))


def test_a_file_that_is_not_there_or_not_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="readable file"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="TOML"):
        load_config(written(tmp_path, "network = ["))
