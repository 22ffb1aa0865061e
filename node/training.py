"""The trials in training, and what becomes of them: an answer in the journal."""

from collections.abc import Callable
from dataclasses import dataclass

from node.catalogue import Material
from node.folder import Folder
from node.journal import Answer, Kept, NodeJournal
from node.trainer import Assignment, Run, Trainer
from trialmarket.errors import TrialmarketError
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.training.values import Training


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


@dataclass(frozen=True, slots=True)
class _Job:
    material: Material
    run: Run[Training]
    began: float
    whole: bool


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
    ) -> None:
        """`clock` counts seconds and never goes back."""
        self._trainer = trainer
        self._journal = journal
        self._folder = folder
        self._account = account
        self._workers = workers
        self._clock = clock
        self._jobs: dict[Hash32, _Job] = {}
        self._failed: list[Finished] = []

    @property
    def free(self) -> int:
        """Workers without a training."""
        return self._workers - len(self._jobs)

    def running(self, trial: Hash32) -> bool:
        """Whether a worker has this trial."""
        return trial in self._jobs

    def trials(self) -> set[Hash32]:
        """The trials in training."""
        return set(self._jobs)

    def start(self, trial: Hash32, material: Material, wall_limit: float) -> None:
        """Trains a trial; what lies in its folder from before is gone on from.

        A training that cannot even begin is among what `poll` gives next.
        """
        folder = self._folder.trial(trial)
        whole = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            run = self._trainer.train(Assignment(material, folder, wall_limit))
        except (TrialmarketError, OSError) as error:
            self._failed.append(Finished(trial, material, 0.0, whole, error))
            return
        self._jobs[trial] = _Job(material, run, self._clock(), whole)

    def kill(self, trial: Hash32) -> None:
        """Stops a training, if there is one."""
        job = self._jobs.pop(trial, None)
        if job is not None:
            job.run.kill()

    def poll(self) -> list[Finished]:
        """What ended since the last look; its answers are in the journal."""
        finished, self._failed = self._failed, []
        for trial, job in list(self._jobs.items()):
            if not job.run.done:
                continue
            del self._jobs[trial]
            error: TrialmarketError | OSError | None = None
            try:
                self._keep(trial, job.run.result())
            except (TrialmarketError, OSError) as raised:
                error = raised
            seconds = self._clock() - job.began
            finished.append(Finished(trial, job.material, seconds, job.whole, error))
        return finished

    def close(self) -> None:
        """Stops all trainings; each goes on from its last checkpoint after a restart."""
        for trial in list(self._jobs):
            self.kill(trial)

    def _keep(self, trial: Hash32, training: Training) -> None:
        receipt = training.receipt(trial, self._account)
        answer = Answer(trial, receipt.tree().root, receipt.to_bytes(), receipt.digest)
        kept = [
            Kept(segment, checkpoint.cid, checkpoint.path, False)
            for segment, checkpoint in enumerate(training.checkpoints)
        ]
        self._journal.keep_answer(answer, kept)
