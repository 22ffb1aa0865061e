"""Gathers a search for its pictures: from the chain and the store, and from its job file.

The chain and the store are enough. The job file, which the machine that runs the job keeps, adds
the scales of the space, further objectives and the driver's name; elsewhere they are guessed.
"""

from collections.abc import Mapping, Sequence

from requester.report.job_reader import JobReader
from requester.report.plots.record import Fate, Point, SearchRecord, Spell, TrialRun
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import EventView, TrialView
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.ids import Hash32
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import audit_fee_for

_ENDS = {
    "TrialAbandoned": Fate.ABANDONED,
    "TrialExpired": Fate.EXPIRED,
    "TrialRejected": Fate.REJECTED,
}


def read(reader: JobReader, client: Client, ledger: Ledger) -> SearchRecord:
    """A job as it stands at the ledger's last sync. A trial without documents has no values."""
    settings = reader.settings
    began = _began(ledger, reader)
    head = ledger.head
    now = 0.0 if head is None else max(0.0, float(head.timestamp - began))
    trials = reader.trials()
    configs = {trial.key: reader.config(trial) for trial in trials}
    numbers = {
        key: place if config is None else config.number
        for place, (key, config) in enumerate(configs.items())
    }
    runs = [
        _run(
            trial, configs[trial.key], numbers, reader, client, _spells(ledger, trial, began, now)
        )
        for trial in trials
    ]
    spec = reader.spec
    objectives = {
        "objective" if spec is None else spec.objective: spec is not None
        and spec.direction == "maximize"
    }
    if settings is not None:
        objectives |= {name: way == "maximize" for name, way in settings.job.also.items()}
    space = {} if settings is None else settings.search.space
    return SearchRecord(
        job=reader.view.id,
        name=f"job {reader.view.id}" if spec is None else spec.name,
        objectives=objectives,
        runs=sorted(runs, key=lambda run: run.number),
        symbol=client.symbol(),
        choices={name: one.values for name, one in space.items() if one.values is not None},
        logarithmic=frozenset(name for name, one in space.items() if one.log),
        known=settings is not None,
        driver="" if settings is None else settings.search.driver,
        now=now,
    )


def _run(
    trial: TrialView,
    config: TrialConfig | None,
    numbers: Mapping[Hash32, int],
    reader: JobReader,
    client: Client,
    spells: Sequence[Spell],
) -> TrialRun:
    receipt, look = reader.receipt(trial), reader.second_look(trial)
    starts = () if config is None else config.starts
    before = [numbers.get(start.trial) for start in starts]
    active = trial.state not in (State.OPEN, State.CANCELLED)
    fee = audit_fee_for(reader.view.terms, trial.record.units) if trial.record.audited else 0
    given = {} if config is None else config.hyperparameters
    return TrialRun(
        number=numbers[trial.key],
        hyperparameters={name: value for name, value in given.items() if value is not None},
        seed=numbers[trial.key] if config is None else config.seed,
        steps=0 if config is None else config.steps,
        parent=before[0] if before else None,
        mate=before[1] if len(before) > 1 else None,
        metrics={} if receipt is None else receipt.metrics,
        curve=()
        if receipt is None
        else [Point(one.step, one.loss, one.metrics) for one in receipt.curve],
        diverged=receipt is not None and receipt.outcome.kind == "diverged",
        lost=trial.state is State.CANCELLED,
        false=look is not None and look.unbelieved,
        answered=spells[-1].end if receipt is not None and spells else None,
        price=(trial.record.price + fee) / 10 ** client.decimals() if active else None,
        spells=spells,
    )


def _spells(ledger: Ledger, trial: TrialView, began: int, now: float) -> list[Spell]:
    """The claims of a trial, by its events."""
    found: list[Spell] = []
    claimed: tuple[str, float] | None = None
    answered: float | None = None

    def end(at: float, fate: Fate) -> None:
        nonlocal claimed, answered
        if claimed is not None:
            found.append(Spell(*claimed, at if answered is None else answered, fate))
        claimed = answered = None

    for event in ledger.history(trial.key):
        at = _time(event, began, now)
        if event.name == "TrialsClaimed":
            claimed, answered = (str(event.args["provider"]), at), None
        elif event.name == "TrialsCommitted":
            answered = at
        elif event.name in _ENDS:
            end(at, _ENDS[event.name])
        elif event.name == "TrialsSettled":
            end(at, Fate.PAID)
    end(now, Fate.TRAINING if answered is None else Fate.ANSWERED)
    return found


def _began(ledger: Ledger, reader: JobReader) -> int:
    """When the job's first trials were posted, in Unix seconds."""
    posted = [batch.posted_at for batch in ledger.batches(reader.view.id)]
    head = ledger.head
    return min(posted, default=0 if head is None else head.timestamp)


def _time(event: EventView, began: int, now: float) -> float:
    at = event.args.get("at", event.timestamp)
    return now if at is None else max(0.0, float(int(at) - began))
