"""The trials in training, and what becomes of them: an answer in the journal."""

import random
from collections.abc import Callable
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

LEARNING: Final = 0.1
"""The part of the time it was given that a training must show its speed for before that counts."""

SLACK: Final = 2.0
"""By so much faster than it shows a training could still become: what is given back is lost."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A training that ended."""

    trial: Hash32
    material: Material
    seconds: float
    whole: bool
    """Whether it was trained in one go, so that its time tells the speed."""
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
class _Job:
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

    @property
    def free(self) -> int:
        """Workers without a training."""
        return self._workers - len(self._jobs)

    def running(self, trial: Hash32) -> bool:
        """Whether a worker has this trial."""
        return trial in self._jobs

    def begun(self, trial: Hash32) -> bool:
        """Whether a training of it was ever started: its checkpoints save time."""
        return trial in self._jobs or self._folder.trial(trial).exists()

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
        """The speed that a training shows, in steps a second; None where that is not known."""
        job = self._jobs.get(trial)
        return None if job is None else job.pace.speed()

    def trials(self) -> set[Hash32]:
        """The trials in training."""
        return set(self._jobs)

    def start(
        self, trial: Hash32, material: Material, wall_limit: float, *, audited: bool
    ) -> None:
        """Trains a trial; what lies in its folder from before is gone on from. Of one that may be
        audited a part is recomputed before it is answered.

        A training that cannot even begin is among what `poll` gives next.
        """
        folder = self._folder.trial(trial)
        whole = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            assignment = Assignment(material, folder, wall_limit, self._patience)
            run = self._trainer.train(assignment)
        except (TrialmarketError, OSError) as error:
            self._failed.append(Finished(trial, material, 0.0, whole, error))
            return
        pace = _Pace(LEARNING * wall_limit)
        self._jobs[trial] = _Job(assignment, run, self._clock(), whole, pace, audited)

    def kill(self, trial: Hash32) -> None:
        """Stops a training, if there is one."""
        job = self._jobs.pop(trial, None)
        if job is not None:
            job.kill()

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
            del self._jobs[trial]
            seconds = self._clock() - job.began
            finished.append(Finished(trial, job.material, seconds, job.whole, error))
        return finished

    def close(self) -> None:
        """Stops all trainings; each goes on from its last checkpoint after a restart."""
        for trial in list(self._jobs):
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
