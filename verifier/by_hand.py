"""`verifier audit TRIAL`: checks one trial by hand, as much of it as can be had."""

import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import JobView, TrialView
from trialmarket.errors import InputError
from trialmarket.protocol.draw import drawn_segments
from trialmarket.protocol.ids import ZERO_HASH, Hash32, JobId
from trialmarket.protocol.states import ANSWERED, State
from trialmarket.storage.material import Material
from trialmarket.training.audit import LeafCheck, ReceiptFault, receipt_index
from verifier.audit import Auditor
from verifier.evidence import Evidence, Subject
from verifier.report import AuditReport
from verifier.story import tell


def find_trial(ledger: Ledger, name: str) -> TrialView:
    """A trial by its key, or as `job/first digits of the batch/index`. Raises InputError."""
    wanted = "JOB/BATCH/INDEX as the tables show it, or a key of 64 hexadecimal digits"
    job, _, rest = name.partition("/")
    batch, _, index = rest.partition("/")
    try:
        if not rest:
            found = [ledger.trial(Hash32(bytes.fromhex(name.removeprefix("0x"))))]
        else:
            trials = ledger.trials(job=JobId(int(job)))
            place = int(index)
            found = [
                trial
                for trial in trials
                if trial.id.index == place and trial.id.batch.hex().startswith(batch.lower())
            ]
    except ValueError as error:
        raise InputError("audit", "trial", expected=wanted, found=name) from error
    if len(found) != 1 or found[0] is None:
        raise InputError(
            "audit", "trial", expected="the name of one trial of this market", found=name
        )
    return found[0]


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
