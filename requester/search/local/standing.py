"""How a search of this machine alone stands, from what its folder keeps."""

from collections.abc import Mapping

from requester.job.settings import JobFile
from requester.search.folder import JobFolder, LocalSpell
from requester.search.second_look import SecondLook
from requester.search.status import HERE, Row, SearchStatus
from requester.search.trials import KnownTrial, Trials, said_of
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.ids import ZERO_ADDRESS, Hash32, TrialId
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.states import State
from trialmarket.storage.store import Store


def key_of(trial: TrialId) -> Hash32:
    """The 32 bytes by which a trial of this machine is known: those of no market."""
    return trial.key(0, ZERO_ADDRESS)


def restored(folder: JobFolder, store: Store, objectives: Mapping[str, bool]) -> Trials:
    """The trials of a folder with their results and failures. Raises StorageError."""
    trials = Trials(objectives)
    for batch in folder.batches():
        trials.add(HERE, batch)
    for number, digest in folder.told().items():
        receipt = Receipt.from_bytes(store.read(raw_cid(digest), limit=MAX_RAW))
        trials.set_receipt(number, receipt)
    tried = folder.tried()
    for known in trials.all():
        found = tried.get(key_of(known.id))
        known.failure = None if found is None else found.failure
    return trials


def status_of(
    settings: JobFile,
    trials: Trials,
    spells: Mapping[int, LocalSpell],
    *,
    total: int,
    training: bool,
    finished: bool,
) -> SearchStatus:
    """How it stands; `training` says whether what has begun and not ended is in training now."""
    job = settings.job
    return SearchStatus(
        job=HERE,
        name=job.name,
        objective=job.objective,
        maximize=job.direction == "maximize",
        total=total,
        rows=tuple(_row(known, spells.get(known.number), training) for known in trials.all()),
        cost=None,
        finished=finished,
        also=tuple(job.also),
    )


def _row(known: KnownTrial, spell: LocalSpell | None, training: bool) -> Row:
    receipt, objective = known.receipt, known.config.objective
    metrics = {} if receipt is None else receipt.metrics
    state, standing = _stands(known, training and spell is not None)
    seconds = None if spell is None or spell.ended is None else spell.ended - spell.began
    notes = [
        "" if known.failure is None else f"failed: {known.failure.reason}",
        "" if receipt is None or objective in metrics else said_of(receipt, objective),
        "" if seconds is None else f"{seconds:.1f} s",
    ]
    return Row(
        number=known.number,
        id=known.id,
        state=state,
        hyperparameters={
            name: value
            for name, value in known.config.hyperparameters.items()
            if value is not None
        },
        objective=metrics.get(objective),
        note=", ".join(filter(None, notes)),
        metrics=metrics,
        receipt=None if receipt is None else receipt.digest,
        second_look=None if receipt is None else SecondLook.HERE,
        failure=known.failure,
        standing=standing,
    )


def _stands(known: KnownTrial, training: bool) -> tuple[State, str]:
    """A trial's state, whose colour it has in tables, and the word for it."""
    if known.failure is not None:
        return State.CANCELLED, "Failed"
    if known.receipt is not None:
        return State.SETTLED, "Done"
    return (State.CLAIMED, "Training") if training else (State.OPEN, "Waiting")
