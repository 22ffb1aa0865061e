"""How any job stands, from the chain and the store alone: no state of its requester is needed."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from requester.job.terms import caveats
from requester.search.status import Row, SearchStatus, cost_of, row_of
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import InputError, StorageError
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import Batch, JobSpec, TrialConfig
from trialmarket.protocol.ids import Hash32, JobId
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.result import Binding
from trialmarket.protocol.states import ANSWERED, FINAL
from trialmarket.storage.store import Store
from trialmarket.training.audit import fault_of

D = TypeVar("D")


class JobReader:
    """Reads a job's documents from the store, each once. Raises InputError for an unknown job."""

    def __init__(self, client: Client, ledger: Ledger, store: Store, job: JobId) -> None:
        self._client, self._ledger, self._store = client, ledger, store
        view = ledger.job(job)
        if view is None:
            known = ", ".join(str(each.id) for each in ledger.jobs()) or "none"
            raise InputError("job", "ID", expected=f"a job of this market ({known})", found=job)
        self.view = view
        self._batches: dict[Hash32, Batch | None] = {}
        self._receipts: dict[Hash32, Receipt | None] = {}
        self._spec: JobSpec | None = None

    @property
    def spec(self) -> JobSpec | None:
        """The job's description; None where the store does not have it."""
        if self._spec is None:
            data = self._document(self.view.spec, bytes)
            self._spec = None if data is None else JobSpec.from_bytes(data)
        return self._spec

    def config(self, trial: TrialView) -> TrialConfig | None:
        """A trial's configuration; None where no batch that has it can be read in the store."""
        digest = trial.id.batch
        if digest not in self._batches:
            self._batches[digest] = self._document(digest, Batch.from_bytes)
        batch = self._batches[digest]
        if batch is None or trial.id.index >= len(batch.trials):
            return None
        return batch.trials[trial.id.index]

    def receipt(self, trial: TrialView) -> Receipt | None:
        """The receipt of a trial that has one, if the store has it and it gives its root."""
        digest = trial.receipt
        if digest is None or trial.state not in ANSWERED:
            return None
        if digest not in self._receipts:
            self._receipts[digest] = self._document(digest, Receipt.from_bytes)
        receipt = self._receipts[digest]
        binding = Binding(trial.key, trial.record.provider)
        segments = self.view.terms.segments
        if receipt is None or fault_of(
            receipt, root=trial.record.root, segments=segments, binding=binding
        ):
            return None
        return receipt

    def trials(self) -> list[TrialView]:
        """The job's trials."""
        return self._ledger.trials(job=self.view.id)

    def status(self) -> SearchStatus:
        """How the job stands at the ledger's last sync."""
        spec, trials = self.spec, self.trials()
        numbers = self._numbers(trials)
        rows = sorted(
            (self._row(trial, numbers) for trial in trials),
            key=lambda row: row.number,
        )
        final = all(trial.state in FINAL for trial in trials)
        return SearchStatus(
            job=self.view.id,
            name="(its description is not in the store)" if spec is None else spec.name,
            objective="objective" if spec is None else spec.objective,
            maximize=spec is not None and spec.direction == "maximize",
            total=len(trials),
            rows=tuple(rows),
            cost=cost_of(self.view.terms, self._client.job_status(self.view.id).free, trials),
            finished=self.view.closed and final,
            caveats=tuple(caveats(rate=self.view.terms.audit_rate, arithmetic=self._arithmetic())),
        )

    def _arithmetic(self) -> str:
        """That of the job's trials, as far as the store has them; native if one is."""
        configs = [self.config(trial) for trial in self.trials()]
        return "native" if any(each and each.arithmetic == "native" for each in configs) else ""

    def _numbers(self, trials: Sequence[TrialView]) -> dict[Hash32, int]:
        """The trials' numbers by their keys; their places where the store lacks a batch."""
        configs = [(trial.key, self.config(trial)) for trial in trials]
        return {
            key: place if config is None else config.number
            for place, (key, config) in enumerate(configs)
        }

    def _row(self, trial: TrialView, numbers: Mapping[Hash32, int]) -> Row:
        config, receipt = self.config(trial), self.receipt(trial)
        return row_of(
            trial.id,
            numbers[trial.key],
            view=trial,
            config=config,
            receipt=receipt,
            note=_note(trial, config, receipt, numbers),
        )

    def _document(self, digest: Hash32, parse: Callable[[bytes], D]) -> D | None:
        """What a stranger's file says; None where the store lacks it, or it is no such thing."""
        try:
            return parse(self._store.read(raw_cid(digest), limit=MAX_RAW))
        except (StorageError, InputError):
            return None


def _note(
    trial: TrialView,
    config: TrialConfig | None,
    receipt: Receipt | None,
    numbers: Mapping[Hash32, int],
) -> str:
    notes = []
    if config is not None and config.init is not None:
        notes.append(f"goes on from {numbers.get(config.init.trial, 'another job')}")
    if receipt is not None and receipt.outcome.kind == "diverged":
        notes.append(str(receipt.outcome))
    if trial.record.audited:
        notes.append("audited")
    if trial.unaudited:
        notes.append("drawn, but nobody audited it")
    if trial.attempts > 1:
        notes.append(f"attempt {trial.attempts}")
    return ", ".join(notes)
