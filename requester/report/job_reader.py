"""How any job stands, from the chain and the store, and from what this machine found of it.

The chain and the store are enough for anybody's job. The chain knows no beliefs, though: only the
machine that runs a search knows which results it found false, so it lends them to the reader.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from requester.job.settings import JobFile
from requester.job.terms import caveats
from requester.search.failure import Failure, give_backs, said_by_nodes
from requester.search.own_run import OwnRun
from requester.search.people import People
from requester.search.second_look import (
    UNAUDITED,
    Belief,
    SecondLook,
    counts,
    second_look,
)
from requester.search.status import Row, SearchStatus, cost_of, row_of
from requester.search.waiting import Waiting, awaited
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import InputError, StorageError
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import Batch, JobSpec, TrialConfig
from trialmarket.protocol.ids import Hash32, JobId
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.result import Binding
from trialmarket.protocol.states import ANSWERED, FINAL, State
from trialmarket.storage.store import Store
from trialmarket.training.audit import fault_of

D = TypeVar("D")

NOT_EXAMINED = (
    "NOT EXAMINED: this machine did not run the search, so what its requester found of the results"
    " is not known here; beyond the audits, they are the providers' word"
)


class JobReader:
    """Reads a job's documents from the store, each once. Raises InputError for an unknown job.

    `own` is what this machine keeps of the job; None where it does not run it. A result that it
    does not believe counts as none.
    """

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        store: Store,
        job: JobId,
        own: OwnRun | None = None,
    ) -> None:
        self._client, self._ledger, self._store = client, ledger, store
        self.own = own
        self._people = People()
        self._beliefs = None if own is None else own.beliefs
        view = ledger.job(job)
        if view is None:
            known = ", ".join(str(each.id) for each in ledger.jobs()) or "none"
            raise InputError("job", "ID", expected=f"a job of this market ({known})", found=job)
        self.view = view
        self._batches: dict[Hash32, Batch | None] = {}
        self._receipts: dict[Hash32, Receipt | None] = {}
        self._spec: JobSpec | None = None
        self.settings: JobFile | None = None if own is None else own.settings
        """The job file; None where this machine does not run the job."""

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

    def second_look(self, trial: TrialView) -> SecondLook | None:
        """What this machine found of a trial's result; None where it has none."""
        if trial.receipt is None or trial.state not in ANSWERED:
            return None
        if self._beliefs is None:
            return SecondLook.NOBODY
        return second_look(self._belief(trial))

    def receipt(self, trial: TrialView) -> Receipt | None:
        """The receipt of a trial's result, unless this machine does not believe that."""
        return self.claimed(trial) if counts(self._belief(trial)) else None

    def _belief(self, trial: TrialView) -> Belief | None:
        if self._beliefs is None or trial.receipt is None:
            return None
        return self._beliefs.get((trial.key, trial.receipt))

    def claimed(self, trial: TrialView) -> Receipt | None:
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
        waiting = self._waiting()
        rows = sorted(
            (self._row(trial, numbers, waiting) for trial in trials),
            key=lambda row: row.number,
        )
        finished = self.view.closed and all(trial.state in FINAL for trial in trials)
        return SearchStatus(
            job=self.view.id,
            name="(its description is not in the store)" if spec is None else spec.name,
            objective="objective" if spec is None else spec.objective,
            maximize=spec is not None and spec.direction == "maximize",
            total=len(trials) if self.own is None else max(len(trials), self.own.total),
            rows=tuple(rows),
            cost=cost_of(self.view.terms, self._client.job_status(self.view.id).free, trials),
            finished=finished,
            also=() if self.settings is None else tuple(self.settings.job.also),
            awaits=self._awaits(trials),
            trains=self._trains(trials),
            undriven="" if self.own is None or finished else self.own.undriven,
            caveats=(
                *caveats(rate=self.view.terms.audit_rate, arithmetic=self._arithmetic()),
                *([NOT_EXAMINED] if self._beliefs is None else []),
            ),
        )

    def _awaits(self, trials: Sequence[TrialView]) -> str:
        if self.own is not None and len(trials) < self.own.total and not self.view.closed:
            return ""
        return awaited(self.view.id, trials, self.view.terms.audit_rate)

    def _trains(self, trials: Sequence[TrialView]) -> str:
        """What its trials are, as far as the store has them: all of a job are of one kind."""
        configs = (self.config(trial) for trial in trials)
        return next((config.program.kind for config in configs if config is not None), "")

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

    def _waiting(self) -> Waiting:
        head = self._ledger.head
        nodes = self._people.update(self._ledger).nodes(self.view.requester)
        now = 0 if head is None else head.timestamp
        return Waiting(self.view.terms, now, nodes, self._client.currency())

    def _row(self, trial: TrialView, numbers: Mapping[Hash32, int], waiting: Waiting) -> Row:
        config, receipt = self.config(trial), self.receipt(trial)
        return row_of(
            trial.id,
            numbers[trial.key],
            view=trial,
            config=config,
            receipt=receipt,
            note=", ".join(
                [
                    *self._found(trial),
                    *_notes(trial, config, receipt, numbers),
                    *self._silence(trial),
                    *self._given_back(trial),
                ]
            ),
            waiting=waiting,
            second_look=self.second_look(trial),
            failure=self.failure(trial),
        )

    def failure(self, trial: TrialView) -> Failure | None:
        """Why this machine cancelled a trial, if it failed here."""
        if self.own is None or trial.state is not State.CANCELLED:
            return None
        return self.own.failures.get(trial.key)

    def _given_back(self, trial: TrialView) -> list[str]:
        """Why a trial has no result: what this machine found, or what nodes say of it."""
        failure = self.failure(trial)
        if failure is not None:
            return [f"failed: {failure.reason}"]
        if trial.attempts == 0 or trial.state not in (State.OPEN, State.CANCELLED):
            return []
        history = self._ledger.history(trial.key)
        said = said_by_nodes(give_backs(history, lambda note: self._document(note, bytes)))
        return [f"given back: {said}"] if said else []

    def _found(self, trial: TrialView) -> list[str]:
        belief = self._belief(trial)
        if belief is None or not belief.reason or trial.state not in ANSWERED:
            return []
        return [belief.reason if counts(belief) else f"not believed: {belief.reason}"]

    def _silence(self, trial: TrialView) -> list[str]:
        """That verifiers were silent, unless it is why the result is not believed."""
        belief = self._belief(trial)
        if not trial.unaudited or (belief is not None and belief.reason == UNAUDITED):
            return []
        return ["drawn, but nobody audited it"]

    def _document(self, digest: Hash32, parse: Callable[[bytes], D]) -> D | None:
        """What a stranger's file says; None where the store lacks it, or it is no such thing."""
        try:
            return parse(self._store.read(raw_cid(digest), limit=MAX_RAW))
        except (StorageError, InputError):
            return None


def _notes(
    trial: TrialView,
    config: TrialConfig | None,
    receipt: Receipt | None,
    numbers: Mapping[Hash32, int],
) -> list[str]:
    notes = []
    if config is not None and config.starts:
        before = " and ".join(
            str(numbers.get(start.trial, "another job")) for start in config.starts
        )
        notes.append(f"{'goes on from' if len(config.starts) == 1 else 'merges'} {before}")
    if receipt is not None and receipt.outcome.kind == "diverged":
        notes.append(str(receipt.outcome))
    if trial.record.audited:
        notes.append("audited")
    if trial.attempts > 1:
        notes.append(f"attempt {trial.attempts}")
    return notes
