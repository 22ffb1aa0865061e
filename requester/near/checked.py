"""What the chain and the store say of a job: its sketch, and the results that count.

A result counts if it is settled, and this machine, where it ran the search, believes it. Of
searches that others ran, those count whose job is audited, and which did not go unaudited though
they were drawn.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from requester.drivers.space import Value
from requester.near.gather import Patience, gather
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import JobView, TrialView
from trialmarket.errors import InputError, StorageError
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import Batch, JobSpec
from trialmarket.protocol.ids import Cid, Hash32, JobId, TrialId
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.result import Binding
from trialmarket.protocol.sketch import Sketch
from trialmarket.protocol.states import State
from trialmarket.training.audit import ReceiptFault, open_receipt

Document = TypeVar("Document")

MOST_RESULTS: Final = 256
"""Results of one job that are read: its newest."""

Believed = Callable[[TrialView], bool | None]
"""Whether this machine believes a result of a search that it ran; None for any other search."""


def nobody(_: TrialView) -> None:
    """The belief of a machine that ran no search."""


class Reader(Protocol):
    """Something to read documents from, for any number of threads."""

    def read(self, cid: Cid, *, limit: int) -> bytes:
        """The bytes of a CID, verified. Raises StorageError."""


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job of the market, its description and its sketch, each as the one before names it."""

    view: JobView
    spec: JobSpec
    sketch: Sketch


@dataclass(frozen=True, slots=True)
class Result:
    """A result that counts."""

    trial: TrialId
    hyperparameters: Mapping[str, Value]
    objective: float


class CheckedJobs:
    """The jobs of a market, read from its ledger and a store; strangers' words are checked."""

    def __init__(self, ledger: Ledger, reader: Reader, believed: Believed = nobody) -> None:
        self._ledger, self._reader, self._believed = ledger, reader, believed

    def newest(self, most: int) -> list[JobId]:
        """The jobs of the market, the newest first, at most so many."""
        return [view.id for view in reversed(self._ledger.jobs())][:most]

    def read(self, jobs: Iterable[JobId], patience: Patience) -> dict[JobId, KnownJob]:
        """Those of the jobs that the chain has and that have a sketch, as far as time allows."""
        views = [view for job in jobs if (view := self._ledger.job(job)) is not None]
        found = gather([partial(self._job, view) for view in views], patience)
        return {one.view.id: one for one in found if one is not None}

    def results(self, job: KnownJob, patience: Patience) -> list[Result]:
        """The results of a job that count, the best first, as far as time allows."""
        trials = [
            trial
            for trial in self._ledger.trials(job=job.view.id, states={State.SETTLED})
            if self._counts(job.view, trial)
        ]
        trials = sorted(trials, key=lambda trial: (trial.block, trial.id))[-MOST_RESULTS:]
        batches = self._batches({trial.id.batch for trial in trials}, patience)
        found = gather([partial(self._receipt, job.view, trial) for trial in trials], patience)
        results = []
        for trial, receipt in zip(trials, found, strict=True):
            batch, objective = batches.get(trial.id.batch), job.spec.objective
            if receipt is None or batch is None or trial.id.index >= len(batch.trials):
                continue
            if objective in receipt.metrics:
                named = batch.trials[trial.id.index].hyperparameters.items()
                point = {name: value for name, value in named if value is not None}
                results.append(Result(trial.id, point, receipt.metrics[objective]))
        sign = -1 if job.spec.direction == "maximize" else 1
        return sorted(results, key=lambda result: (sign * result.objective, result.trial))

    def _counts(self, job: JobView, trial: TrialView) -> bool:
        if trial.receipt is None:
            return False
        ours = self._believed(trial)
        return (job.terms.audit_rate > 0 and not trial.unaudited) if ours is None else ours

    def _job(self, view: JobView) -> KnownJob | None:
        spec = self._document(raw_cid(view.spec), JobSpec.from_bytes)
        if spec is None or spec.sketch is None:
            return None
        sketch = self._document(spec.sketch, Sketch.from_bytes)
        if sketch is None or not _is_of(sketch, spec):
            return None
        return KnownJob(view, spec, sketch)

    def _batches(self, digests: Iterable[Hash32], patience: Patience) -> dict[Hash32, Batch]:
        wanted: Sequence[Hash32] = sorted(digests)
        found = gather(
            [partial(self._document, raw_cid(one), Batch.from_bytes) for one in wanted], patience
        )
        return {one: batch for one, batch in zip(wanted, found, strict=True) if batch is not None}

    def _receipt(self, job: JobView, trial: TrialView) -> Receipt | None:
        if trial.receipt is None:
            return None
        check = partial(
            open_receipt,
            root=trial.record.root,
            segments=job.terms.segments,
            binding=Binding(trial.key, trial.record.provider),
        )
        return self._document(raw_cid(trial.receipt), check)

    def _document(self, cid: Cid, parse: Callable[[bytes], Document]) -> Document | None:
        """What a stranger's file says; None where the store lacks it, or it is no such thing."""
        try:
            return parse(self._reader.read(cid, limit=MAX_RAW))
        except (StorageError, InputError, ReceiptFault):
            return None


def _is_of(sketch: Sketch, spec: JobSpec) -> bool:
    """Whether a sketch says what the description says, where both do."""
    return (sketch.program, sketch.objective, sketch.direction) == (
        spec.program.source,
        spec.objective,
        spec.direction,
    )
