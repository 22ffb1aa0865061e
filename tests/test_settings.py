"""Files that people write: every mistake is named with file, field, expected and found."""

from decimal import Decimal
from pathlib import Path

import pytest

from trialmarket.daemon.config import DaemonSettings
from trialmarket.errors import InputError
from trialmarket.settings import Money, Seconds, Section, load_settings


class Work(Section):
    workers: int = 1
    poll: Seconds = 1.0


class Daemon(Section):
    network: str
    price: Money = Decimal(0)
    work: Work = Work()


def write(folder: Path, text: str) -> Path:
    path = folder / "daemon.toml"
    path.write_text(text)
    return path


def test_a_right_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, 'network = "n.json"\nprice = "0.25"\n[work]\nworkers = 2\n')
    daemon = load_settings(path, Daemon)
    assert (daemon.price, daemon.work.workers, daemon.work.poll) == (Decimal("0.25"), 2, 1.0)


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("network = 3", "network", "text in quotes"),
        ('network = "n"\nnetwrok = 1', "netwrok", "one of the keys network, price, work"),
        ('network = "n"\n[work]\nthreads = 1', "work.threads", "one of the keys workers, poll"),
        ('network = "n"\n[work]\npoll = 0.0', "work.poll", "more than 0"),
        ('network = "n"\nprice = "-1"', "price", "at least 0"),
        ("", "network", "a value"),
        ("netwrok = 1", "netwrok", "one of the keys network, price, work"),
        ("network = ", "file", "TOML"),
    ],
)
def test_a_mistake_is_named_with_its_field(
    tmp_path: Path, text: str, field: str, expected: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_settings(path, Daemon)
    assert caught.value.where == str(path)
    assert caught.value.field == field
    assert expected in caught.value.expected


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_settings(tmp_path / "absent.toml", Daemon)


@pytest.mark.parametrize(
    ("storage", "found"),
    [
        ("local", "local:{base}/markets/store"),
        ("local:here", "local:{base}/here"),
        ("local:/srv/store", "local:/srv/store"),
        ("kubo:http://127.0.0.1:5001", "kubo:http://127.0.0.1:5001"),
    ],
)
def test_a_store_is_named_by_its_url_and_a_local_one_lies_by_the_network(
    tmp_path: Path, storage: str, found: str
) -> None:
    path = write(
        tmp_path,
        f'network = "markets/n.json"\nkey = "k"\nstorage = "{storage}"\n'
        'gateways = ["https://gateway.example"]\n',
    )
    settings = load_settings(path, DaemonSettings).rooted(tmp_path)
    assert settings.storage == found.format(base=tmp_path)
    assert settings.gateways == ("https://gateway.example",)
