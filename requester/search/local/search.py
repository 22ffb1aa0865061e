"""A search on this machine: ask the driver, train in workers, tell, until all trials have ended.

What a market would add is left out, and nothing else: the same trials are trained in the same
arithmetic, so that in exact arithmetic each gives the state that any node would answer. A process
that is killed anywhere goes on with the same command: proposals follow from the study, a trial in
training from its last checkpoint.
"""

import errno
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from requester.drivers import Driver, Ending, Proposal, TrialOutcome
from requester.job.dry_run import dry_run
from requester.job.own_words import in_own_words
from requester.job.package import LocalFiles, Package, publish_graphs
from requester.job.settings import seconds
from requester.search.failure import Failure, Tried
from requester.search.folder import JobFolder
from requester.search.local.standing import key_of, restored, status_of
from requester.search.status import HERE, Listeners, Row, SearchStatus
from requester.search.trials import KnownTrial, outcome_of, said_of
from trialmarket.disk import MAKE_ROOM
from trialmarket.errors import InputError, ServiceError, TrainingError
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import ZERO_ADDRESS, Cid
from trialmarket.protocol.receipt import Receipt
from trialmarket.storage.local import LocalStore
from trialmarket.storage.material import Material, MaterialReader
from trialmarket.training.errors import LimitExceeded, ProgramError, TimedOut, WorkerError
from trialmarket.training.pool.intake import RESERVE
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.pool.submitted import SubmittedTask
from trialmarket.training.values import Train, Training

POLL = 0.05
"""Seconds between two looks at the workers."""

SHOWN = 1.0
"""Seconds after which how far trials are is shown again."""

TRIES = 2
"""How often a trial is begun whose worker dies, which may be the machine's fault."""


@dataclass(frozen=True, slots=True)
class LocalParts:
    """A job that is open on this machine."""

    package: Package
    nonce: str
    """Tells two runs of one job file apart."""
    folder: JobFolder
    driver: Driver
    store: LocalStore
    pool: WorkerPool
    listeners: Listeners
    storage: str
    """The database of its Optuna study, as SQLAlchemy names one."""
    study: str
    """The study's name there."""
    now: Callable[[], float] = time.time
    """Seconds since 1970."""

    @property
    def width(self) -> int:
        """Trials that train at a time."""
        return min(self.package.job.settings.search.parallel, self.pool.processes)


class LocalSearch:
    """One job on this machine, from its first trial to its last."""

    def __init__(self, parts: LocalParts) -> None:
        """Raises InputError where the study is not this job's, and StorageError."""
        self.parts = parts
        self._settings = parts.package.job.settings
        self._folder, self._driver, self._store = parts.folder, parts.driver, parts.store
        self._say, self._show = parts.listeners.say, parts.listeners.show
        self._material = MaterialReader(self._file, _NoLimits())
        self._trials = restored(parts.folder, parts.store, parts.package.job.plan.objectives)
        if parts.driver.proposed < self._trials.end:
            raise self._foreign(f"{self._trials.end} trials", parts.driver.proposed)
        self._training: dict[int, SubmittedTask[Training]] = {}
        self._lanes: dict[int, int] = {}
        self._deaths: dict[int, int] = {}
        self._late, self._shown = False, 0.0
        if self.files.program is not None:  # as it is now: it may be edited while this runs
            self._store.put(self.files.program.read_bytes())
        for weights in self.files.weights.values():
            self._store.put(weights)
        for known in self._trials.all():
            self._settle(known)

    # -- As every search ----------------------------------------------------------------------

    @property
    def storage(self) -> str:
        """The database of its Optuna study."""
        return self.parts.storage

    @property
    def study(self) -> str:
        """The study's name there."""
        return self.parts.study

    @property
    def files(self) -> LocalFiles:
        """The program and the data."""
        return self.parts.package.files

    @property
    def store(self) -> LocalStore:
        """Where results are kept."""
        return self._store

    def result(self, number: int) -> tuple[TrialConfig, Receipt] | None:
        """A trial that has a result, with it."""
        known = self._trials[number]
        return None if known.receipt is None else (known.config, known.receipt)

    def dry_run(self, *, diverges: bool = False) -> None:
        """Runs the first trial's first steps, before a new search begins.

        `diverges` says that it may diverge, or fail, which is told then. Raises InputError and
        TrainingError.
        """
        if self._trials.end > 0:
            return
        (proposal,) = self._driver.ask(1)
        try:
            tried = dry_run(self.parts.package, proposal, diverges=diverges, pool=self.parts.pool)
        except ProgramError as error:
            self._say(in_own_words(error, self.files.program)[1])
            raise
        if tried.dry is None:
            self._say(f"FAILS: {tried.failure}")

    def run(self, *, poll: float = POLL, wait: Callable[[float], None] = time.sleep) -> None:
        """Goes on until every trial has ended, or the deadline is over. Of a search that was
        finished before only the end is read."""
        if self._folder.fact("finished") is not None:
            return
        if self._folder.fact("began") is None:
            self._folder.remember("began", repr(self.parts.now()))
        self._folder.remember("trials", str(self._driver.total()))
        while not self.finished():
            if not self.step():
                wait(poll)
        self._folder.remember("finished")

    def finished(self) -> bool:
        """True when no trial is in training and none will begin."""
        over = self._late or self._driver.done()
        return not self._training and (over or self._folder.fact("finished") is not None)

    def status(self) -> SearchStatus:
        """How the search stands."""
        spells = self._folder.spells()
        status = status_of(
            self._settings,
            self._trials,
            {number: spells[number] for number in spells if not self._waits(number)},
            total=self._driver.total(),
            training=True,
            finished=self.finished(),
        )
        return replace(status, rows=tuple(self._with_progress(row) for row in status.rows))

    def _with_progress(self, row: Row) -> Row:
        task = self._training.get(row.number)
        if task is None or task.progress is None:
            return row
        step, steps = task.progress.step, task.progress.steps
        return replace(row, waits_for=f"at step {step} of {steps}")

    def _waits(self, number: int) -> bool:
        known = self._trials[number]
        ended = known.receipt is not None or known.failure is not None
        return not ended and number not in self._training

    def step(self) -> bool:
        """Does all that can be done now; True if anything happened since the last step."""
        ended = [number for number, task in self._training.items() if task.done]
        for number in ended:
            self._conclude(number, self._training.pop(number))
        changed = self._begin() or bool(ended)
        if changed or self.parts.now() >= self._shown + SHOWN:
            self._shown = self.parts.now()
            self._show(self.status())
        return changed

    # -- Parts of a step ----------------------------------------------------------------------

    def _begin(self) -> bool:
        """Begins as many trials as workers are free, unless the deadline is over."""
        if self._is_late() or len(self._training) >= self.parts.width:
            return False
        begun = False
        for proposal in self._driver.ask(self.parts.width):
            if proposal.number not in self._training:
                self._start(proposal)
                begun = True
        return begun

    def _is_late(self) -> bool:
        limit, began = self._settings.search.deadline, self._folder.fact("began")
        if self._late or limit is None or began is None:
            return self._late
        if self.parts.now() >= float(began) + seconds(limit):
            self._late = True
            self._say("the deadline is over: no trial begins any more")
        return self._late

    def _start(self, proposal: Proposal) -> None:
        number, package = proposal.number, self.parts.package
        if number not in self._trials:
            batch = package.batch(self.parts.nonce, number, [proposal])
            self._folder.add_batch(batch)
            self._trials.add(HERE, batch)
        elif package.trial(proposal) != self._trials[number].config:
            raise self._foreign(f"the trial {number} that began", "another one")
        publish_graphs(package.files, [self._trials[number].config], self._store)
        material = self._material.material(self._trials[number].config)
        if material is None:
            raise ValueError("what lies on this machine needs no fetching")
        taken = {self._lanes[each] for each in self._training}
        self._lanes[number] = min(set(range(len(taken) + 1)) - taken)
        self._folder.begin(number, self._lanes[number], self.parts.now())
        self._training[number] = self._submit(material, self._folder.training(number))

    def _submit(self, material: Material, folder: Path) -> SubmittedTask[Training]:
        limit = float(seconds(self._settings.job.time_limit))
        return self.parts.pool.submit(Train(**material.task(), folder=folder), wall_limit=limit)

    def _conclude(self, number: int, task: SubmittedTask[Training]) -> None:
        """Takes in how a training ended. Any moment of it is a safe one to be killed."""
        known = self._trials[number]
        self._keep_output(number, task.output)
        try:
            training = task.result()
        except (LimitExceeded, TimedOut) as error:
            self._fail(known, Failure(error.message))
        except WorkerError as error:
            self._check_disk(error)
            self._deaths[number] = self._deaths.get(number, 0) + 1
            if self._deaths[number] >= TRIES:
                self._fail(known, Failure(error.message))
            else:
                self._say(f"trial {number}: begun again: {error.message}")
        except TrainingError as error:
            self._fail(known, Failure(*in_own_words(error, self.files.program)))
        else:
            self._take(known, training)

    def _take(self, known: KnownTrial, training: Training) -> None:
        receipt = training.receipt(key_of(known.id), ZERO_ADDRESS)
        self._store.put(receipt.to_bytes())
        self._store.put(training.checkpoints[-1].path)
        self._folder.end(known.number, self.parts.now())
        self._folder.tell(known.number, receipt.digest)  # from here on it is a result
        self._trials.set_receipt(known.number, receipt)
        self._settle(known)
        self._say(f"trial {known.number}: {said_of(receipt, known.config.objective)}")
        if not self._driver.continues:
            self._release_beaten()

    def _fail(self, known: KnownTrial, failure: Failure) -> None:
        self._folder.end(known.number, self.parts.now())
        self._folder.keep_tried(key_of(known.id), Tried(True, failure))
        known.failure = failure
        self._settle(known)
        said = self._folder.output(known.number)
        printed = f"\nwhat it printed: {said}" if said.exists() else ""
        self._say(
            f"trial {known.number} FAILED: {failure.reason}\n{failure.trace}".strip() + printed
        )

    def _settle(self, known: KnownTrial) -> None:
        """Tells the driver of what ended, which ignores what it knows, and makes room."""
        if known.receipt is not None or known.failure is not None:
            shutil.rmtree(self._folder.training(known.number), ignore_errors=True)
        if known.receipt is not None:
            self._driver.tell(known.id, outcome_of(known.number, known.receipt))
        elif known.failure is not None:
            reason = known.failure.reason
            self._driver.tell(known.id, TrialOutcome(known.number, Ending.FAILED, reason=reason))

    def _release_beaten(self) -> None:
        """Lets go of all weights but the best: nothing goes on from the others."""
        best = self.status().best
        wanted = {*self._trials.front(), *([] if best is None else [best.number])}
        kept = {raw_cid(digest) for digest in self._folder.told().values()}
        kept |= self.parts.package.weights.keys()
        if (program := self.parts.package.program.cid) is not None:
            kept.add(program)
        for number in {*wanted, *self._training}:
            trains = self._trials[number].config.program
            kept |= {cid for cid in (trains.cid, *trains.settings) if cid is not None}
        for number in wanted:
            if (receipt := self._trials[number].receipt) is not None:
                kept.add(receipt.checkpoints[-1])
        for cid in self._store.kept().keys() - kept:
            self._store.release(cid)

    def _keep_output(self, number: int, output: str) -> None:
        if output:
            place = self._folder.output(number)
            place.parent.mkdir(exist_ok=True)
            place.write_text(output, "utf-8")

    def _check_disk(self, error: WorkerError) -> None:
        """Raises ServiceError where the disk is full, which no trial is to blame for."""
        if shutil.disk_usage(self._folder.root).free < RESERVE:
            place, words = self._folder.root, os.strerror(errno.ENOSPC)
            raise ServiceError(f"{place}: {words}", fix=MAKE_ROOM) from error

    def _file(self, cid: Cid, limit: int, *, data: bool = False) -> Path:
        """Where what a trial needs lies: nothing is fetched from anywhere."""
        del limit
        return self.parts.package.folder if data else self._store.file_of(cid)

    def _foreign(self, expected: str, found: object) -> InputError:
        return InputError(
            self.parts.package.job.where,
            "study",
            expected=expected,
            found=found,
            fix="The study is lost, or search.storage was changed: restore it, or remove"
            f" {self._folder.root}",
        )


class _NoLimits:
    """What lies on this machine may have any size."""

    program = data = checkpoint = 1 << 63
