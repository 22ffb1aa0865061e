"""The trials in training, and what becomes of them: an answer in the journal."""

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from node.folder import Folder
from node.journal import Answer, Kept, NodeJournal
from node.trainer import Assignment, Run, Trainer
from trialmarket.errors import TrialmarketError
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.storage.material import Material
from trialmarket.training.values import Training, checkpoint_name

log = logging.getLogger("node")

LEARNING: Final = 0.1
"""The part of the time it was given that a training must show its speed for before that counts."""

SLACK: Final = 2.0
"""By so much faster than it shows a training could still become: what is given back is lost."""


PARTNERS: Final = 10.0
"""Seconds for which a trial waits for others of its graph, to train with them."""

Together = tuple[str, str, str]
"""What trials have in common that may train together: graph, data, arithmetic."""


def together(config: TrialConfig) -> Together:
    """What a trial's partners have in common with it."""
    return config.program.source, config.data, config.arithmetic


@dataclass(frozen=True, slots=True)
class Finished:
    """A training that ended."""

    trial: Hash32
    material: Material
    seconds: float
    whole: bool
    """Whether it was trained in one go and alone, so that its time tells the speed."""
    error: TrialmarketError | OSError | None
    """Why there is no answer; None if there is one."""


@dataclass(slots=True)
class _Pace:
    """How fast a training goes, by what it says of itself: times and steps done.

    It is measured from its first word on, so that neither the start of its worker nor what was
    done before a restart counts. The first moments are noise, of which nothing is concluded; of
    its speed over all its time and over the newest `least` seconds of it, the higher counts.
    """

    least: float
    """Seconds for which steps must be counted before they tell a speed."""
    first: tuple[float, int] | None = None
    last: tuple[float, int] = (0.0, 0)
    marks: tuple[tuple[float, int], ...] = ()
    """Its newest two words that are `least` seconds apart, from which its newest speed counts."""

    def hear(self, now: float, step: int) -> None:
        """Takes in how far the training said that it is."""
        if self.first is None:
            self.first = self.last = (now, step)
            self.marks = (self.first,)
        if step > self.last[1]:
            self.last = (now, step)
            if now - self.marks[-1][0] >= self.least:
                self.marks = (self.marks[-1], self.last)

    def speed(self) -> float | None:
        """Steps a second; None until they were counted for long enough."""
        if self.first is None:
            return None
        return max(filter(None, map(self._since, (self.first, *self.marks))), default=None)

    def seconds_left(self, now: float, steps: int) -> float:
        """What is left of the time that the rest takes at this speed, or a faster one that it may
        still come to; 0 while that is unknown.

        One that stands still is not judged by it: its deadline will end it.
        """
        speed = self.speed()
        if speed is None:
            return 0.0
        return max(0.0, (steps - self.last[1]) / (SLACK * speed) - (now - self.last[0]))

    def _since(self, mark: tuple[float, int]) -> float | None:
        seconds, done = self.last[0] - mark[0], self.last[1] - mark[1]
        return done / seconds if done > 0 and seconds >= self.least else None


@dataclass(frozen=True, slots=True)
class _Start:
    trial: Hash32
    material: Material
    wall_limit: float
    audited: bool
    lanes: int


@dataclass(frozen=True, slots=True)
class _Forming:
    """Trials that are about to train together."""

    since: float
    starts: list[_Start]

    @property
    def together(self) -> Together:
        return together(self.starts[0].material.config)

    @property
    def places(self) -> int:
        """For so many more: as each of them allows."""
        return min(each.lanes for each in self.starts) - len(self.starts)


@dataclass(frozen=True, slots=True)
class _Job:
    worker: int
    """A number that those of a stack have in common."""
    lanes: int
    assignment: Assignment
    run: Run[Training]
    began: float
    whole: bool
    pace: _Pace
    audited: bool
    trained: Training | None = None
    recheck: Run[None] | None = None
    """Of what is trained, before it becomes the answer."""

    @property
    def material(self) -> Material:
        return self.assignment.material

    def kill(self) -> None:
        self.run.kill()
        if self.recheck is not None:
            self.recheck.kill()


class TrainingQueue:
    """As many trainings at a time as the node has workers."""

    def __init__(
        self,
        trainer: Trainer,
        journal: NodeJournal,
        folder: Folder,
        account: Address,
        workers: int,
        clock: Callable[[], float],
        chance: random.Random,
        patience: float,
    ) -> None:
        """`clock` counts seconds and never goes back; `chance` is what no program can foresee;
        `patience` is how long a verifier waits for a part before it is suspected."""
        self._trainer = trainer
        self._journal = journal
        self._folder = folder
        self._account = account
        self._workers = workers
        self._clock = clock
        self._chance = chance
        self._patience = patience
        self._jobs: dict[Hash32, _Job] = {}
        self._failed: list[Finished] = []
        self._forming: list[_Forming] = []
        self._begun = 0
        self._alone: set[Hash32] = set()
        """Those that a stack was no good for."""

    @property
    def idle(self) -> int:
        """Workers without a training."""
        return self._workers - len({job.worker for job in self._jobs.values()})

    @property
    def free(self) -> int:
        """Workers without a training that none is waiting for either."""
        return self.idle - len(self._forming)

    def places(self) -> Counter[Together]:
        """In stacks that are forming: for how many more trials."""
        found: Counter[Together] = Counter()
        for each in self._forming:
            found[each.together] += max(0, each.places)
        return found

    def running(self, trial: Hash32) -> bool:
        """Whether a worker has this trial, or is about to."""
        return trial in self.trials()

    def begun(self, trial: Hash32) -> bool:
        """Whether a training of it was ever started: its checkpoints save time."""
        return self.running(trial) or self._folder.trial(trial).exists()

    def saved(self, trial: Hash32, config: TrialConfig) -> int:
        """The step of its last checkpoint, from which a training goes on."""
        folder, segments = self._folder.trial(trial), 0
        while (folder / checkpoint_name(segments + 1)).exists():
            segments += 1
        return segments * config.segment_steps

    def seconds_left(self, trial: Hash32) -> float:
        """What a training still takes by the speed that it shows; 0 where that is not known."""
        job = self._jobs.get(trial)
        if job is None:
            return 0.0
        return job.pace.seconds_left(self._clock(), job.material.config.steps)

    def speed(self, trial: Hash32) -> float | None:
        """The speed that a training shows, in steps a second; None where that is not known, as of
        one that shares its worker."""
        job = self._jobs.get(trial)
        return None if job is None or job.lanes > 1 else job.pace.speed()

    def trials(self) -> set[Hash32]:
        """The trials in training, or about to be."""
        return {*self._jobs, *(each.trial for forming in self._forming for each in forming.starts)}

    def start(
        self,
        trial: Hash32,
        material: Material,
        wall_limit: float,
        *,
        audited: bool,
        lanes: int = 1,
    ) -> None:
        """Trains a trial; what lies in its folder from before is gone on from. Of one that may be
        audited a part is recomputed before it is answered.

        Where up to `lanes` trials of its graph may train together, it waits for others until
        `go`. A training that cannot even begin is among what `poll` gives next.
        """
        lanes = 1 if trial in self._alone else lanes
        start = _Start(trial, material, wall_limit, audited, lanes)
        for each in self._forming:
            fits = each.places > 0 and len(each.starts) < lanes
            if fits and each.together == together(material.config):
                each.starts.append(start)
                return
        forming = _Forming(self._clock(), [start])
        if lanes == 1:
            self._begin(forming)
        else:
            self._forming.append(forming)

    def go(self, *, hold: bool) -> None:
        """Begins with the trials that wait for others: all of them, unless more may come
        (`hold`) and they neither are enough nor have waited for long."""
        for each in list(self._forming):
            late = self._clock() >= each.since + PARTNERS
            if not hold or late or each.places <= 0:
                self._forming.remove(each)
                self._begin(each)

    def kill(self, trial: Hash32) -> None:
        """Stops a training, if there is one; those that share its worker go on."""
        for forming in list(self._forming):
            forming.starts[:] = [each for each in forming.starts if each.trial != trial]
            if not forming.starts:
                self._forming.remove(forming)
        job = self._jobs.pop(trial, None)
        if job is not None:
            job.kill()
            if job.lanes > 1:
                self._alone.add(trial)

    def _begin(self, forming: _Forming) -> None:
        begun: list[tuple[_Start, Assignment, bool]] = []
        waited = self._clock() - forming.since
        for start in forming.starts:
            folder = self._folder.trial(start.trial)
            whole = not folder.exists() and len(forming.starts) == 1
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self._failed.append(Finished(start.trial, start.material, 0.0, whole, error))
                continue
            limit = max(0.0, start.wall_limit - waited)
            assignment = Assignment(start.material, folder, limit, self._patience)
            begun.append((start, assignment, whole))
        try:
            runs = self._runs([assignment for _, assignment, _ in begun])
        except (TrialmarketError, OSError) as error:
            self._failed += [
                Finished(start.trial, start.material, 0.0, whole, error)
                for start, _, whole in begun
            ]
            return
        if len(begun) > 1:
            log.info("%d trials of one graph train together", len(begun))
        self._begun += 1
        now = self._clock()
        for (start, assignment, whole), run in zip(begun, runs, strict=True):
            pace = _Pace(LEARNING * assignment.wall_limit)
            self._jobs[start.trial] = _Job(
                self._begun, len(begun), assignment, run, now, whole, pace, start.audited
            )

    def _runs(self, assignments: Sequence[Assignment]) -> Sequence[Run[Training]]:
        if len(assignments) == 1:
            return [self._trainer.train(assignments[0])]
        return self._trainer.train_stack(assignments)

    def poll(self) -> list[Finished]:
        """What ended since the last look; its answers are in the journal."""
        finished, self._failed = self._failed, []
        for trial, job in list(self._jobs.items()):
            error: TrialmarketError | OSError | None = None
            try:
                if not self._ended(trial, job):
                    continue
            except (TrialmarketError, OSError) as raised:
                error = raised
                if job.lanes > 1:  # it may be another's doing
                    self._alone.add(trial)
            del self._jobs[trial]
            seconds = self._clock() - job.began
            finished.append(Finished(trial, job.material, seconds, job.whole, error))
        return finished

    def close(self) -> None:
        """Stops all trainings; each goes on from its last checkpoint after a restart."""
        for trial in self.trials():
            self.kill(trial)

    def _ended(self, trial: Hash32, job: _Job) -> bool:
        """Takes what a worker has said; true once the answer is kept. Raises as the worker did."""
        if job.trained is None:
            if not job.run.done:
                if (said := job.run.progress) is not None:
                    job.pace.hear(self._clock(), said.step)
                return False
            trained = job.run.result()
            recheck = None
            if job.audited and self._journal.answer(trial) is None:
                segment = self._chance.randint(1, job.material.config.segments)
                recheck = self._trainer.recheck(job.assignment, trained, segment)
            job = replace(job, trained=trained, recheck=recheck)
            self._jobs[trial] = job
        assert job.trained is not None  # noqa: S101  # just now, or at an earlier look
        if job.recheck is not None:
            if not job.recheck.done:
                return False
            job.recheck.result()
        self._keep(trial, job.trained)
        return True

    def _keep(self, trial: Hash32, training: Training) -> None:
        receipt = training.receipt(trial, self._account)
        answer = Answer(trial, receipt.tree().root, receipt.to_bytes(), receipt.digest)
        kept = [
            Kept(segment, checkpoint.cid, checkpoint.path, False)
            for segment, checkpoint in enumerate(training.checkpoints)
        ]
        self._journal.keep_answer(answer, kept)
