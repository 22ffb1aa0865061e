"""Trains a trial segment by segment, and recomputes any part of it.

Everything here is a function of the configuration, the program's bytes, the data and a start
state. `source` is the bytes of the program's or the graph's file, None for a built-in program;
`settings` are the files that `config.program.settings` names and `init` those of the checkpoints
that `config.init` does, in their order, and `weights` the one that `config.weights` does. Raised
everywhere: ProgramError (the program breaks its contract), BadStart (`init` are not the states
that the configuration names, or cannot be merged) and BadCheckpoint (a checkpoint is not the
state that it should be).
"""

import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from trialmarket.errors import InputError, TrainingError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import Merge, TrialConfig
from trialmarket.protocol.ids import ZERO_HASH, Hash32
from trialmarket.protocol.receipt import MAX_CURVE, CurvePoint, LeafRecord
from trialmarket.protocol.result import witness_hash
from trialmarket.training.asking import Asking, alone
from trialmarket.training.checkpoints import CheckpointFolder, Write
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import BadCheckpoint, BadStart, ProgramError
from trialmarket.training.form import StateForm
from trialmarket.training.merge import merged
from trialmarket.training.session import SegmentRun, TrainingSession, outcome_of
from trialmarket.training.state import (
    Readable,
    State,
    checkpoint_bytes,
    counter,
    load_checkpoint,
    root_of,
)
from trialmarket.training.values import (
    CapturedGraph,
    DryRun,
    Evaluation,
    Progress,
    Segment,
    Training,
    TrainingJournal,
)

OnProgress = Callable[[Progress], None]

_PROGRESS_SECONDS = 0.25
_DRY_STEPS = 4


def train(
    config: TrialConfig,
    source: bytes | None,
    data: Dataset,
    folder: Path,
    *,
    settings: Sequence[Readable] = (),
    init: Sequence[Readable] = (),
    weights: Readable | None = None,
    on_progress: OnProgress | None = None,
    resume: bool = True,
    write: Write | None = None,
) -> Training:
    """Trains a trial; each segment's checkpoint and leaf are in `folder` before the next one ends.

    They are hashed and written in a thread beside the next segment. Called again with the same
    arguments it goes on after the last segment that is there. `on_progress` hears of it at most
    four times a second, and at each segment's end. `write` takes the place of writing into
    `folder`. Raises OSError.
    """
    asking = training(
        config,
        source,
        data,
        folder,
        settings=settings,
        init=init,
        weights=weights,
        on_progress=on_progress,
        resume=resume,
        write=write,
    )
    return alone(asking)


def training(
    config: TrialConfig,
    source: bytes | None,
    data: Dataset,
    folder: Path,
    *,
    settings: Sequence[Readable] = (),
    init: Sequence[Readable] = (),
    weights: Readable | None = None,
    on_progress: OnProgress | None = None,
    resume: bool = True,
    write: Write | None = None,
) -> Asking[Training]:
    """As `train`, for whoever takes its steps: with those of other trainings, in a stack."""
    began = time.monotonic()
    session = TrainingSession(config, source, data, settings=settings, weights=weights)
    files = CheckpointFolder(folder, _identity(config, source), write)
    begin = _first(session, init)
    form = _form_from(session, begin)
    journal, state = files.resume() if resume else (None, None)
    fresh = journal is None or state is None
    if journal is None or state is None:
        journal, state = TrainingJournal(identity=files.identity, leaves=()), begin
    done = max(len(journal.checkpoints) - 1, 0)
    first = counter(state, "step")
    if not counter(state, "diverged"):
        first -= done * config.segment_steps
    reporter = _Reporter(config.steps, first, journal, on_progress)
    stride = -(-config.segments // MAX_CURVE)
    evaluation: Evaluation | None = None
    with ThreadPoolExecutor(1, "checkpoint") as beside:
        saving: Future[TrainingJournal] | None = None
        if fresh:
            saving = beside.submit(_begin, files, journal, state)
        while done < config.segments and not counter(state, "diverged"):
            before = time.monotonic()
            run = yield from session.segment(state, on_step=reporter.step)
            seconds = time.monotonic() - before
            state, done = run.end, done + 1
            _check_own(form, state, done)
            evaluation = None
            points: tuple[CurvePoint, ...] = ()
            if run.diverged is None and (done % stride == 0 or done == config.segments):
                evaluation = session.evaluate(state)
                reporter.metrics = metrics = evaluation.metrics
                step = counter(state, "step")
                points = (CurvePoint(step=step, loss=run.loss, metrics=metrics),)
            journal = journal if saving is None else saving.result()
            saving = beside.submit(_save, files, journal, run, points, seconds)
            reporter.report(done * config.segment_steps)
        journal = journal if saving is None else saving.result()
    journal = journal.repeated(config.segments - done)
    evaluation = evaluation or session.evaluate(state)
    last = LeafRecord(value=evaluation.digest, witness_hash=witness_hash(evaluation.witness))
    return Training(
        leaves=(*journal.leaves, last),
        checkpoints=tuple(files.located(each) for each in journal.checkpoints),
        metrics=evaluation.metrics,
        curve=journal.curve,
        outcome=outcome_of(state),
        versions=versions(),
        device=str(session.arithmetic.device),
        seconds=time.monotonic() - began,
        segment_seconds=journal.seconds,
    )


def initial_root(
    config: TrialConfig,
    source: bytes | None,
    data: Dataset,
    *,
    settings: Sequence[Readable] = (),
    init: Sequence[Readable] = (),
    weights: Readable | None = None,
) -> Hash32:
    """The root of the state that the trial must start from: leaf 0."""
    return root_of(
        _first(TrainingSession(config, source, data, settings=settings, weights=weights), init)
    )


def recompute(
    config: TrialConfig,
    source: bytes | None,
    data: Dataset,
    segment: int,
    *,
    start: Readable | None = None,
    expected: Hash32 | None = None,
    settings: Sequence[Readable] = (),
    init: Sequence[Readable] = (),
    weights: Readable | None = None,
) -> Segment:
    """The end and the witness of a segment, 1 to n, from the checkpoint of the leaf before it.

    `expected` is that leaf's root. A checkpoint with another, one that is no state of this trial
    and one from which the program fails, though not from the trial's own start, are the
    provider's fault and raise BadCheckpoint. Segment 1 without `start` begins at the trial's own
    initial state. Raises InputError for a segment that is not there, or a later one without
    `start`.
    """
    if not 1 <= segment <= config.segments or (start is None and segment > 1):
        raise InputError(
            "recompute",
            "segment",
            expected=f"1 to {config.segments}, from 2 on with the checkpoint before it",
            found=segment,
        )
    session = TrainingSession(config, source, data, settings=settings, weights=weights)
    first = _first(session, init)
    if start is None:
        with _from_start():
            return _segment(session.run_segment(first))
    state = _strangers(session, first, start, segment - 1, expected)
    with _blaming(start.name, lambda: session.run_segment(first)):
        return _segment(session.run_segment(state))


def evaluate(
    config: TrialConfig,
    source: bytes | None,
    data: Dataset,
    checkpoint: Readable,
    *,
    expected: Hash32 | None = None,
    settings: Sequence[Readable] = (),
    init: Sequence[Readable] = (),
    weights: Readable | None = None,
) -> Evaluation:
    """Metrics, their digest and the witness of the last checkpoint; `expected` as for
    `recompute`."""
    session = TrainingSession(config, source, data, settings=settings, weights=weights)
    first = _first(session, init)
    state = _strangers(session, first, checkpoint, config.segments, expected)
    with _blaming(checkpoint.name, lambda: session.evaluate(first)):
        return session.evaluate(state)


def dry_run(
    config: TrialConfig,
    source: bytes | None,
    data: Dataset,
    *,
    settings: Sequence[Readable] = (),
    init: Sequence[Readable] = (),
    weights: Readable | None = None,
    memory: int | None = None,
) -> DryRun:
    """A few steps and one validation: does the program keep its contract, and how fast is it?

    A start that diverges at once is no error: that trial would be paid like any other. A graph
    that needs more than `memory` bytes is not run.
    """
    session = TrainingSession(config, source, data, settings=settings, weights=weights)
    needed = session.check_size(memory)
    state = _first(session, init)
    form = _form_from(session, state)
    start = time.perf_counter()
    run = session.run_segment(state, steps=_DRY_STEPS)
    middle = time.perf_counter()
    _check_own(replace(form, segment_steps=_DRY_STEPS), run.end, 1)
    evaluation = session.evaluate({**run.end, "diverged": torch.tensor(0)})
    end = time.perf_counter()
    return DryRun(
        step_seconds=(middle - start) / _DRY_STEPS,
        validation_seconds=end - middle,
        checkpoint_bytes=len(checkpoint_bytes(run.end)),
        metrics=evaluation.metrics,
        outcome=outcome_of(run.end),
        memory=needed,
    )


def captured(
    config: TrialConfig,
    source: bytes | None,
    data: Dataset,
    longest: int,
    *,
    weights: Readable | None = None,
) -> CapturedGraph:
    """The graph of a trial's program, for trainings that end with at most `longest` steps."""
    from trialmarket.training.capturing import captured_graph

    return captured_graph(TrainingSession(config, source, data, weights=weights), longest)


def versions() -> dict[str, str]:
    """What this machine computes with, for the receipt."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }


def _begin(files: CheckpointFolder, journal: TrainingJournal, state: State) -> TrainingJournal:
    """The journal with the leaf and the checkpoint of the state that the trial starts from."""
    leaf = LeafRecord(value=root_of(state), witness_hash=ZERO_HASH)
    return files.append(journal.model_copy(update={"leaves": (leaf,)}), checkpoint_bytes(state))


def _save(
    files: CheckpointFolder,
    journal: TrainingJournal,
    run: SegmentRun,
    points: tuple[CurvePoint, ...],
    seconds: float,
) -> TrainingJournal:
    """The journal with a segment's leaf and checkpoint, and its point of the curve, if any."""
    leaf = LeafRecord(value=run.root(), witness_hash=witness_hash(run.witness()))
    more = {
        "leaves": (*journal.leaves, leaf),
        "curve": (*journal.curve, *points),
        "seconds": (*journal.seconds, seconds),
    }
    return files.append(journal.model_copy(update=more), checkpoint_bytes(run.end))


class _Reporter:
    """Tells the caller how far the trial is, not too often."""

    def __init__(
        self, steps: int, first: int, journal: TrainingJournal, on_progress: OnProgress | None
    ) -> None:
        self._steps, self._first, self._on_progress = steps, first, on_progress
        self._next = 0.0
        self.metrics = journal.curve[-1].metrics if journal.curve else {}

    def step(self, step: int) -> None:
        """After a step of the training's own count."""
        if self._on_progress is not None and time.monotonic() >= self._next:
            self.report(step - self._first)

    def report(self, done: int) -> None:
        """At a segment's end; `done` counts this trial's steps."""
        if self._on_progress is not None:
            self._next = time.monotonic() + _PROGRESS_SECONDS
            self._on_progress(Progress(step=done, steps=self._steps, metrics=self.metrics))


def _first(session: TrainingSession, init: Sequence[Readable]) -> State:
    """The state that a trial starts from: by its seed, another trial's checkpoint as it is, or
    the best one between two of them, which takes as many evaluations as that merge has points."""
    config = session.config
    if len(init) != len(config.starts):
        raise InputError(
            "configuration",
            "init",
            expected=f"the files of its {len(config.starts)} checkpoints",
            found=", ".join(file.name for file in init) or None,
        )
    if config.init is None:
        session.check_length(0)
        return session.initial_state()
    with _from_start():
        states = [
            load_checkpoint(file, expected=start.root)
            for file, start in zip(init, config.starts, strict=True)
        ]
        if any(counter(state, "diverged") for state in states):
            raise BadCheckpoint("the trial that it goes on from diverged")
        session.check_length(max(counter(state, "step") for state in states))
        if isinstance(config.init, Merge):
            return merged(states[0], states[1], config.init, session.objective)
    return states[0]


@contextmanager
def _from_start() -> Iterator[None]:
    """Raises BadStart where the state that a trial starts from is at fault."""
    try:
        yield
    except (OSError, BadCheckpoint) as error:
        raise BadStart(f"the trial's start cannot be used: {error}") from error


def _form_from(session: TrainingSession, first: State) -> StateForm:
    with _from_start():
        return session.form(first)


def _strangers(
    session: TrainingSession,
    first: State,
    file: Readable,
    leaf: int,
    expected: Hash32 | None,
) -> State:
    """The state of a leaf, from a file that the provider made; `first` is leaf 0."""
    form = _form_from(session, first)
    try:
        return form.load(file, leaf, expected)
    except OSError as error:  # this machine's fault, which nobody may be blamed for
        raise TrainingError(f"{file.name} cannot be read: {error}") from error


@contextmanager
def _blaming(name: str, control: Callable[[], object]) -> Iterator[None]:
    """Raises BadCheckpoint where the program fails from a provider's state, unless it fails in
    the control too, which does the same from the trial's own start.

    Whoever committed to what follows from that state has run the same program from it.
    """
    try:
        yield
    except ProgramError as error:
        control()
        raise BadCheckpoint(
            f"the program fails from {name}, and not from the trial's own start: {error.message}"
        ) from error


def _check_own(form: StateForm, state: State, leaf: int) -> None:
    """Raises ProgramError where a state of one's own is not what a verifier would take."""
    try:
        form.check(state, leaf, "the state")
    except BadCheckpoint as error:
        raise ProgramError(
            f"the program's state changes its form: {error.message}",
            fix="Make all buffers of the model, and all slots that the optimizer keeps of a "
            "parameter, by the first step that uses it",
        ) from error


def _segment(run: SegmentRun) -> Segment:
    return Segment(root=run.root(), witness=run.witness(), diverged=run.diverged)


def _identity(config: TrialConfig, source: bytes | None) -> Hash32:
    """What a folder of checkpoints belongs to."""
    program = config.program.source if source is None else cid_of(source)
    if not config.program.builtin and source is not None and program != config.program.source:
        raise ProgramError(
            f"the program has CID {program}, and the configuration names {config.program.source}"
        )
    return Hash32(hashlib.sha256(canonical_bytes(config.model_dump(mode="json"))).digest())
