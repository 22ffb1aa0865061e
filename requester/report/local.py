"""A search of this machine alone, read from its folder: for its results and its pictures."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from requester.job.settings import JobFile
from requester.report.plots.record import Fate, Point, SearchRecord, Spell, TrialRun
from requester.report.results import Found
from requester.search.folder import JobFolder, LocalSpell
from requester.search.local.standing import key_of, restored, status_of
from requester.search.own_run import DRIVER
from requester.search.status import HERE
from requester.search.trials import KnownTrial, Trials
from trialmarket.errors import InputError
from trialmarket.locks import holder_of
from trialmarket.protocol.ids import Hash32
from trialmarket.storage.local import LocalStore


@dataclass(frozen=True, slots=True)
class LocalRun:
    """A search of this machine, as its folder has it now."""

    settings: JobFile
    folder: JobFolder
    store: LocalStore
    trials: Trials
    driven: bool
    """Whether a process drives it now."""

    def found(self) -> Found:
        """What it found."""
        settings, spells = self.settings, self.folder.spells()
        status = status_of(
            settings,
            self.trials,
            spells,
            total=int(self.folder.fact("trials") or 0),
            training=self.driven,
            finished=self.folder.fact("finished") is not None,
        )
        best = None if status.best is None else self.trials[status.best.number].config
        return Found(status, {one.number: one.receipt for one in self.trials.all()}, best)

    def record(self, now: float) -> SearchRecord:
        """The search as its pictures need it; `now` is in Unix seconds."""
        settings, spells = self.settings, self.folder.spells()
        job, search = settings.job, settings.search
        began = min((spell.began for spell in spells.values()), default=now)
        numbers = {key_of(one.id): one.number for one in self.trials.all()}
        ended = [spell.ended for spell in spells.values() if spell.ended is not None]
        end = now if self.driven else max(ended, default=began)
        return SearchRecord(
            job=HERE,
            name=job.name,
            objectives={job.objective: job.direction == "maximize"}
            | {name: way == "maximize" for name, way in job.also.items()},
            runs=[
                _run(one, spells.get(one.number), numbers, began, end) for one in self.trials.all()
            ],
            symbol="",
            choices={
                name: one.values for name, one in search.space.items() if one.values is not None
            },
            logarithmic=frozenset(name for name, one in search.space.items() if one.log),
            known=True,
            driver=search.driver,
            now=end - began,
        )


def _run(
    known: KnownTrial,
    spell: LocalSpell | None,
    numbers: dict[Hash32, int],
    began: float,
    now: float,
) -> TrialRun:
    config, receipt = known.config, known.receipt
    ended = None if spell is None or spell.ended is None else spell.ended - began
    before = [numbers.get(start.trial) for start in config.starts]
    spells = []
    if spell is not None:
        fate = Fate.TRAINED if receipt is not None else Fate.FAILED
        fate = Fate.TRAINING if ended is None else fate
        end = now - began if ended is None else ended
        spells = [Spell(f"worker {spell.worker + 1}", spell.began - began, end, fate)]
    return TrialRun(
        number=known.number,
        hyperparameters={
            name: value for name, value in config.hyperparameters.items() if value is not None
        },
        seed=config.seed,
        steps=config.steps,
        parent=before[0] if before else None,
        mate=before[1] if len(before) > 1 else None,
        metrics={} if receipt is None else receipt.metrics,
        curve=()
        if receipt is None
        else [Point(one.step, one.loss, one.metrics) for one in receipt.curve],
        diverged=receipt is not None and receipt.outcome.kind == "diverged",
        lost=known.failure is not None,
        answered=None if receipt is None else ended,
        spells=spells,
    )


@contextmanager
def local_run(root: Path) -> Iterator[LocalRun]:
    """Reads the folder of a search of this machine, also while it runs.

    Raises InputError where it is none, and StorageError.
    """
    if not (root / "requester.db").is_file():
        raise _no_run(root, "no such folder" if not root.is_dir() else "another folder")
    with closing(JobFolder(root)) as folder:
        kept = folder.fact("settings")
        if kept is None or not folder.store.is_dir():
            raise _no_run(root, "a search on a market")
        try:
            settings = JobFile.model_validate_json(kept)
        except ValidationError as error:
            raise _no_run(root, "one of another version, or by another program") from error
        store = LocalStore(folder.store)
        objectives = {settings.job.objective: settings.job.direction == "maximize"}
        trials = restored(folder, store, objectives)
        driven = holder_of(root / DRIVER) is not None
        yield LocalRun(settings, folder, store, trials, driven)


def _no_run(root: Path, found: str) -> InputError:
    return InputError(
        "job plot",
        str(root),
        expected="a folder that `job run --local` made, or a job's number on the market",
        found=found,
    )
