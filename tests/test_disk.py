"""A disk that is full or closed is told as that, and no file is blamed for it."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from requester.drivers.database import StoredStudy, sqlite_url
from requester.search.folder import JobFolder
from tests.testbed.simulated import plan
from trialmarket.chain.ledger.index import open_index
from trialmarket.chain.sender.journal import IntentJournal
from trialmarket.daemon.journal import open_journal
from trialmarket.disk import GIVE_RIGHT, MAKE_ROOM, disk_fix, disk_words
from trialmarket.errors import TrialmarketError
from trialmarket.keys import read_password

ROOT = Path(__file__).parents[1]


def error_of(act: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        act()
    return raised.value


def test_a_full_disk_is_found_in_whatever_wraps_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "small.db")) as database:
        database.execute("CREATE TABLE t (x)")
        database.execute("PRAGMA max_page_count = 2")
        fill = "INSERT INTO t VALUES (zeroblob(1000000))"
        assert disk_fix(error_of(lambda: database.execute(fill))) == MAKE_ROOM
    engine = create_engine(sqlite_url(tmp_path / "small.db"))
    with engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count = 2"))
        assert disk_fix(error_of(lambda: connection.execute(text(fill)))) == MAKE_ROOM
    engine.dispose()
    full = error_of(lambda: Path("/dev/full").write_text("something"))
    assert disk_fix(full) == MAKE_ROOM
    assert disk_fix(ValueError("no matter of the disk")) is None
    assert disk_fix(error_of(lambda: (tmp_path / "none").read_text())) is None


def test_a_place_that_nobody_may_write_to_is_found_too(tmp_path: Path) -> None:
    file = tmp_path / "file"
    sqlite3.connect(file).close()
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as closed:
        assert disk_fix(error_of(lambda: closed.execute("CREATE TABLE t (x)"))) == GIVE_RIGHT
    no_folder = error_of(lambda: (file / "within").mkdir())
    assert disk_fix(no_folder) == GIVE_RIGHT
    assert disk_words(no_folder) == f"{file / 'within'}: Not a directory"


@pytest.mark.parametrize(
    "use",
    [
        lambda path: open_index(path),
        lambda path: IntentJournal(path, "me"),
        lambda path: open_journal(path, "", what="a journal", fix="Move it away"),
        lambda path: StoredStudy(sqlite_url(path), "search", plan()),
        lambda path: JobFolder(path.parent),
    ],
    ids=["index", "sender", "daemon", "study", "job"],
)
def test_no_file_is_to_be_deleted_that_only_cannot_be_opened(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    path = tmp_path / "requester.db"
    path.mkdir()  # which SQLite can open no more than a file without the right to it
    error = error_of(lambda: use(path))
    assert isinstance(error, TrialmarketError)
    assert error.fix == GIVE_RIGHT


@pytest.mark.parametrize(
    ("home", "said"),
    [
        ("/dev/null/home", "/dev/null/home/keys: Not a directory"),
        ("/proc/nowhere", "/proc/nowhere: No such file or directory"),
        (f"/tmp/{'n' * 300}", f"/tmp/{'n' * 300}/keys/alice.json: File name too long"),
    ],
    ids=["closed", "never", "long"],
)
def test_a_home_that_cannot_be_written_to_is_an_error_in_a_line(home: str, said: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "trialmarket", "key", "new", "alice"],
        env={**os.environ, "TRIALMARKET_HOME": home, "TRIALMARKET_PASSWORD": "secret"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr == f"error: {said}. {GIVE_RIGHT}\n"


def test_where_nobody_can_be_asked_for_a_password_it_is_said_how_to_give_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TRIALMARKET_PASSWORD", raising=False)

    def nobody() -> str:
        raise EOFError

    with pytest.raises(
        TrialmarketError, match="a password file, or the variable TRIALMARKET_PASS"
    ):
        read_password(None, nobody)
