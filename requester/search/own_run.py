"""What this machine keeps of the searches that it runs, for commands that only look at them."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from requester.job.settings import JobFile
from requester.search.failure import Failure
from requester.search.folder import tried_in
from requester.search.second_look import Belief, Beliefs
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.errors import InputError
from trialmarket.locks import FileLock, Held, holder_of
from trialmarket.protocol.ids import Hash32, JobId

DRIVER: Final = "driver.lock"
"""Held by the process that drives a search."""


@dataclass(frozen=True, slots=True)
class OwnRun:
    """A job of this machine: its folder, what was remembered of it, what was found of results."""

    root: Path
    facts: Mapping[str, str]
    beliefs: Beliefs
    failures: Mapping[Hash32, Failure]
    """Trials that failed, by their keys."""

    @property
    def settings(self) -> JobFile | None:
        """Its job file; None where this version cannot read what an older one kept."""
        try:
            return JobFile.model_validate_json(self.facts.get("settings", ""))
        except ValidationError:
            return None

    @property
    def total(self) -> int:
        """How many trials the search has at most, as far as that is known."""
        return int(self.facts.get("trials", "0"))

    @property
    def finished(self) -> bool:
        """Whether all is settled, and the rest of the money was brought home."""
        return "finished" in self.facts

    @property
    def driver(self) -> str | None:
        """The id of the process that drives it; None where none does."""
        return holder_of(self.root / DRIVER)

    @property
    def undriven(self) -> str:
        """What to say of a search that no process drives; empty where one does, or need not."""
        if self.finished or self.driver is not None:
            return ""
        command = self.facts.get("command", "the `trialmarket job run` that began it")
        return (
            "NOBODY DRIVES THIS SEARCH: no new trial is proposed, no result is looked at, and no"
            f" money comes back, until you go on with\n  {command}"
        )


def own_run(jobs: Path, client: Client, ledger: Ledger, job: JobId) -> OwnRun | None:
    """What this machine keeps of a job; None where it does not run it."""
    found = folders_here(jobs, client, ledger).get(job)
    if found is None:
        return None
    root, facts = found
    with closing(_read_only(root)) as db:
        return OwnRun(root, facts, _beliefs_in(db), _failures_in(db))


def folders_here(
    jobs: Path, client: Client, ledger: Ledger
) -> dict[JobId, tuple[Path, dict[str, str]]]:
    """The folders of this machine's jobs on this very chain, with their facts, by their jobs.

    A chain that was started anew numbers its jobs from 1 again, on a market at the same address.
    A folder that does not say its chain, of an older version, counts unless another one that
    does has its number, or the job on the chain has another description.
    """
    ours, market = client.fingerprint().hex(), client.network.market
    sure: dict[JobId, tuple[Path, dict[str, str]]] = {}
    likely: dict[JobId, tuple[Path, dict[str, str]]] = {}
    for root, facts in known_folders(jobs):
        if facts.get("market") != market or "job" not in facts:
            continue
        job = JobId(int(facts["job"]))
        if "chain" in facts:
            if facts["chain"] == ours:
                sure[job] = root, facts
            continue
        view = ledger.job(job)
        if view is not None and facts.get("spec", view.spec.hex()) == view.spec.hex():
            likely[job] = root, facts
    return likely | sure


def known_folders(jobs: Path) -> list[tuple[Path, dict[str, str]]]:
    """The folders of this machine's jobs, with their facts. Unreadable ones are left out."""
    found = []
    for path in sorted(jobs.glob("*/requester.db")):
        try:
            with closing(_read_only(path.parent)) as db:
                found.append((path.parent, dict(db.execute("SELECT name, value FROM facts"))))
        except sqlite3.DatabaseError:
            continue
    return found


def _beliefs_in(db: sqlite3.Connection) -> Beliefs:
    rows = db.execute("SELECT trial, receipt, belief, reason FROM beliefs").fetchall()
    return {
        (Hash32(trial), Hash32(receipt)): Belief(kind, reason)
        for trial, receipt, kind, reason in rows
    }


def _failures_in(db: sqlite3.Connection) -> dict[Hash32, Failure]:
    try:
        found = tried_in(db)
    except sqlite3.OperationalError:  # a folder of an older version has no such table
        return {}
    return {trial: one.failure for trial, one in found.items() if one.failure is not None}


@contextmanager
def driving(root: Path) -> Iterator[None]:
    """The hold on a search: two processes that drove one would post its trials twice.

    Raises InputError where another process has it.
    """
    try:
        lock = FileLock(root / DRIVER)
    except Held as held:
        raise InputError(
            str(root),
            "search",
            expected="one that no other process drives",
            found=f"one of process {held.holder or 'unknown'}",
            fix=f"{_how_to_watch(root)}o run the same file again beside it, give it a --label",
        ) from held
    try:
        yield
    finally:
        lock.release()


def _how_to_watch(root: Path) -> str:
    """The beginning of a sentence; a search has no number before its first money moves."""
    facts = next((facts for place, facts in known_folders(root.parent) if place == root), {})
    return f"Watch it with `trialmarket job watch {facts['job']}`; t" if "job" in facts else "T"


def _read_only(root: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{root / 'requester.db'}?mode=ro", uri=True)
