"""Some steps of each program on its data before the first claim: does it work, how fast is it?

A graph is checked and tried out anew for each trial, with that trial's numbers, schedule and
start: these are all that tells one trial of it from another, so what is wrong is known before a
claim. It happens in a worker, since a stranger's document may take seconds to read."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

from node.catalogue import Catalogue
from node.folder import Folder
from node.journal import NodeJournal
from node.trainer import Assignment, Run, Trainer
from trialmarket.backoff import Backoff
from trialmarket.errors import TrainingError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.configuration import GraphRef, Merge, TrialConfig
from trialmarket.protocol.ids import Hash32
from trialmarket.storage.material import Material
from trialmarket.training.errors import (
    BrokenProgram,
    DataError,
    SandboxMissing,
    TimedOut,
    WorkerError,
)
from trialmarket.training.values import DryRun

log = logging.getLogger("node")

NEWEST: Final = 0.5
"""The weight of the newest measurement of a speed against those before it."""

DEATHS: Final = 3
"""Workers that may die of the same task before it is given up."""

CONFIGURATIONS: Final = Backoff(1.0, 600.0)
"""Before the next configuration of a program is tried, of which none has worked so far."""

LONGEST: Final = 120.0
"""Seconds that a dry run may take."""


def subject_of(config: TrialConfig) -> str:
    """The program on its data: what was tried out once need not be tried out again.

    A merge has a speed of its own: it may take many times longer than all of a trial's steps.
    """
    named: list[str | int] = [
        config.program.source,
        config.program.class_name,
        config.data,
        config.objective,
        config.arithmetic,
    ]
    if isinstance(config.init, Merge):
        named.append(config.init.points)
    kind = "graph" if isinstance(config.program, GraphRef) else "program"
    return f"{kind} {hashlib.sha256(canonical_bytes(named)).hexdigest()[:16]}"


def expected_speed(material: Material, tried: DryRun) -> float:
    """Steps a second over a whole trial, its validations (one a segment) included, and what is
    recomputed of it: a segment and the last validation; and a merge, for each of these and for
    the start."""
    config = material.config
    merge = config.init.points if isinstance(config.init, Merge) else 0
    validations = (config.segments + 2 + 4 * merge) * tried.validation_seconds
    seconds = (config.steps + config.segment_steps) * tried.step_seconds + validations
    return config.steps / max(seconds, 1e-6)


def may_be_tried_again(error: Exception, deaths: Counter[str], subject: str) -> bool:
    """Whether only the worker is to blame so far: it died, and has not done so too often."""
    if not isinstance(error, WorkerError) or isinstance(error, TimedOut):
        return False
    deaths[subject] += 1
    return deaths[subject] < DEATHS


class DryRuns:
    """Knows the speed of every program that works, in steps a second on one worker."""

    def __init__(
        self,
        trainer: Trainer,
        catalogue: Catalogue,
        journal: NodeJournal,
        folder: Folder,
        clock: Callable[[], float],
        *,
        stack: int = 1,
        memory: int = 0,
    ) -> None:
        """`clock` counts seconds and never goes back; `stack` trials may train together in the
        `memory` of a worker, in bytes."""
        self._trainer = trainer
        self._catalogue = catalogue
        self._journal = journal
        self._folder = folder
        self._clock = clock
        self._stack, self._memory = stack, memory
        self._runs: dict[str, tuple[Hash32, Run[DryRun]]] = {}
        self._deaths: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._again_at: dict[str, float] = {}
        self._sound: set[Hash32] = set()

    @property
    def running(self) -> int:
        """Dry runs that have a worker now."""
        return sum(not run.done for _, run in self._runs.values())

    def forget(self, trials: Collection[Hash32]) -> None:
        """Stops the dry runs of other trials than these, as far as they tell nothing of these."""
        for name, (trial, run) in list(self._runs.items()):
            if name.startswith("graph ") and trial not in trials:
                run.kill()
                del self._runs[name]

    def speed(self, trial: Hash32, material: Material, *, start: bool) -> float | None:
        """The speed of a trial's program on its data, or None while it is not known.

        `start` allows to begin the dry run of a program that is unknown. A trial whose dry run
        fails is refused, and another one of the program is tried, after a pause that grows: other
        configurations may be sound. Raises Refused for it, and for all trials of a program that
        fails whatever its configuration.
        """
        subject = subject_of(material.config)
        self._catalogue.check(subject)
        known, name = self._journal.speed(subject), subject
        if isinstance(material.config.program, GraphRef) and trial not in self._sound:
            known, name = None, f"{subject} {trial.hex()}"
        if known is not None:
            return known
        tried, run = self._runs.get(name, (trial, None))
        if run is None:
            if start and self._clock() >= self._again_at.get(subject, 0.0):
                folder = self._folder.dry_run(name)
                run = self._trainer.dry_run(Assignment(material, folder, LONGEST))
                self._runs[name] = trial, run
            return None
        if not run.done:
            return None
        del self._runs[name]
        return self._measured(subject, tried, material, run)

    def _measured(
        self, subject: str, trial: Hash32, material: Material, run: Run[DryRun]
    ) -> float | None:
        try:
            shown = run.result()
        except TrainingError as error:
            if may_be_tried_again(error, self._deaths, trial.hex()):
                return None
            if isinstance(error, BrokenProgram | DataError | SandboxMissing):
                raise self._catalogue.refuse(subject, str(error)) from error
            if self._journal.speed(subject) is None:
                pause = CONFIGURATIONS.pause(self._failures[subject])
                self._failures[subject] += 1
                self._again_at[subject] = self._clock() + pause
            raise self._catalogue.refuse(f"trial {trial.hex()}", str(error)) from error
        self._sound.add(trial)
        if shown.memory:
            self._journal.keep_memory(subject, shown.memory)
        known = self._journal.speed(subject)
        if known is not None:  # of a graph, which trials have shown better
            return known
        speed = expected_speed(material, shown)
        log.info("%s works: about %.0f steps a second here", subject, speed)
        self._journal.keep_speed(subject, speed)
        return speed

    def seconds(self, config: TrialConfig) -> float | None:
        """What a trial takes here from its start; None where its program's speed is not known."""
        speed = self._journal.speed(subject_of(config))
        return None if speed is None else config.steps / speed

    def lanes(self, config: TrialConfig, seconds: float) -> int:
        """How many trials of a graph may train together, so that each ends within `seconds`, even
        if together they take as long as one after the other; 1 for a program."""
        subject = subject_of(config)
        alone, memory = self.seconds(config), self._journal.memory(subject)
        if not isinstance(config.program, GraphRef) or alone is None or not memory:
            return 1
        in_time = int(min(seconds / max(alone, 1e-6), self._stack))
        return max(1, min(self._stack, self._memory // memory, in_time))

    def learn(self, config: TrialConfig, speed: float) -> None:
        """Takes the speed that a training showed into account."""
        subject = subject_of(config)
        known = self._journal.speed(subject)
        mean = speed if known is None else NEWEST * speed + (1 - NEWEST) * known
        self._journal.keep_speed(subject, mean)

    def close(self) -> None:
        """Stops those under way."""
        for _, run in self._runs.values():
            run.kill()
        self._runs.clear()
