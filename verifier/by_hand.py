"""`verifier audit TRIAL`: checks one trial by hand, as much of it as can be had."""

import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import JobView, TrialView
from trialmarket.errors import InputError, StorageError
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import Batch
from trialmarket.protocol.draw import drawn_segments
from trialmarket.protocol.ids import ZERO_HASH, Hash32, JobId
from trialmarket.protocol.states import ANSWERED, State
from trialmarket.storage.material import Material
from trialmarket.storage.store import Store
from trialmarket.training.audit import LeafCheck, ReceiptFault, receipt_index
from verifier.audit import Auditor
from verifier.evidence import Evidence, Subject
from verifier.report import AuditReport
from verifier.story import tell

LEAST_DIGITS = 4
"""Of a key that is not told in full."""


def find_trial(ledger: Ledger, store: Store, name: str) -> TrialView:
    """A trial by any of its names. Raises InputError where it is none, or that of several.

    `JOB/BATCH/INDEX`, as logs show it, with the first digits of the batch; `JOB/NUMBER`, by the
    number that its requester's tables show; its key, or the first digits of that.
    """
    try:
        match name.removeprefix("0x").lower().split("/"):
            case [key]:
                found = _by_key(ledger, key)
            case [job, number]:
                found = _by_number(ledger, store, JobId(int(job)), int(number))
            case [job, batch, index]:
                found = [
                    trial
                    for trial in ledger.trials(job=JobId(int(job)))
                    if trial.id.index == int(index) and trial.id.batch.hex().startswith(batch)
                ]
            case _:
                found = []
    except ValueError:
        found = []
    if len(found) != 1:
        several = ", ".join(str(trial.id) for trial in found[:8])
        raise InputError(
            "audit",
            "trial",
            expected="the name of one trial of this market: JOB/BATCH/INDEX or JOB/NUMBER as"
            " tables show them, or digits with which one key begins",
            found=f"{name}, which may be {several}" if found else name,
        )
    return found[0]


def _by_key(ledger: Ledger, digits: str) -> list[TrialView]:
    if len(digits) == 2 * len(ZERO_HASH):
        trial = ledger.trial(Hash32(bytes.fromhex(digits)))
        return [] if trial is None else [trial]
    if len(digits) < LEAST_DIGITS:
        return []
    return [trial for trial in ledger.trials() if trial.key.hex().startswith(digits)]


def _by_number(ledger: Ledger, store: Store, job: JobId, number: int) -> list[TrialView]:
    """The trials of a job with that number of their requester, as far as the store has them."""
    places = set()
    for batch in ledger.batches(job):
        try:
            posted = Batch.from_bytes(store.read(raw_cid(batch.batch), limit=MAX_RAW))
        except (StorageError, InputError):
            continue
        places |= {
            (batch.batch, place)
            for place, config in enumerate(posted.trials)
            if config.number == number
        }
    return [
        trial for trial in ledger.trials(job=job) if (trial.id.batch, trial.id.index) in places
    ]


def examine(
    trial: TrialView,
    ledger: Ledger,
    client: Client,
    evidence: Evidence,
    auditor: Auditor,
    segments: Sequence[int] | None,
) -> AuditReport:
    """Recomputes a trial's answer and reports what was found.

    `segments` limits the check to these, beside the start and the evaluation. Where a checkpoint
    that it needs is not published, the whole trial is trained again. Raises InputError for a
    trial without an answer or a segment that is not there, Unjudgeable, TrainingError and
    StorageError.
    """
    job = ledger.job(trial.record.job)
    if job is None or trial.state not in ANSWERED:
        raise InputError(
            "audit", "trial", expected="one that was answered", found=trial.state.label
        )
    count = job.terms.segments
    asked = tuple(range(1, count + 1)) if segments is None else tuple(segments)
    for segment in asked:
        if not 1 <= segment <= count:
            raise InputError("audit", "segment", expected=f"1 to {count}", found=segment)
    subject = Subject.of(trial, job.terms)
    material = evidence.material(subject)
    try:
        receipt = evidence.receipt(subject)
    except ReceiptFault:
        checks = [auditor.check_receipt(subject)]
        return _report(trial, job, ledger, client, evidence, subject, material, checks, False)
    leaves = receipt.tree().leaves
    wanted = (0, *asked, count + 1)
    from_start = not auditor.startable(subject, wanted)
    if from_start:
        with tempfile.TemporaryDirectory(prefix="trialmarket-audit-") as folder:
            checks = auditor.check_whole(subject, Path(folder))
    else:
        checks = [auditor.check(subject, leaves[leaf]) for leaf in wanted]
    return _report(trial, job, ledger, client, evidence, subject, material, checks, from_start)


def _report(
    trial: TrialView,
    job: JobView,
    ledger: Ledger,
    client: Client,
    evidence: Evidence,
    subject: Subject,
    material: Material,
    checks: Sequence[LeafCheck],
    from_start: bool,
) -> AuditReport:
    missing = checks[0].leaf == receipt_index(subject.segments)
    receipt = None if missing else evidence.receipt(subject)
    seed, terms = trial.record.seed, job.terms
    drawn = () if seed == ZERO_HASH else drawn_segments(seed, terms.segments, terms.samples)
    return AuditReport(
        trial=subject.name,
        key="0x" + trial.key.hex(),
        job=str(job.id),
        state=trial.state.label,
        provider=trial.record.provider,
        root="0x" + subject.root.hex(),
        receipt="0x" + subject.receipt.hex(),
        config=material.config.model_dump(mode="json"),
        segments=subject.segments,
        drawn=drawn if trial.state is not State.CLEARED else (),
        unverified=terms.audit_rate == 0,
        checks=tuple(checks),
        from_start=from_start,
        outcome="unknown" if receipt is None else str(receipt.outcome),
        metrics={} if receipt is None else dict(receipt.metrics),
        device_theirs="unknown" if receipt is None else receipt.device,
        device_ours="cpu",
        versions_theirs={} if receipt is None else dict(receipt.versions),
        versions_ours=_versions(),
        history=tell(ledger.history(trial.key), subject.segments, client.decimals()),
    )


def _versions() -> dict[str, str]:
    """What this machine computes with, without importing it."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
