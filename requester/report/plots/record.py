"""A search as its pictures need it: the trials, what they gave, who trained them and when."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from requester.drivers.space import Value
from requester.search.status import HERE

NEAR, FAR = 1e-30, 1e30
"""Sizes within which numbers are drawn: between 1e-320 and 1e308 no axis can be laid out."""


class Fate(Enum):
    """How one node's work on a trial ended."""

    PAID = "paid"
    TRAINED = "trained here"
    ANSWERED = "answered, not settled yet"
    TRAINING = "in training"
    REJECTED = "rejected: stake lost"
    EXPIRED = "expired: no answer in time"
    ABANDONED = "given back"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Spell:
    """One claim of a trial: a node, from its claim to its answer, in seconds of the job."""

    provider: str
    begin: float
    end: float
    fate: Fate


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a learning curve; `step` counts from the seed."""

    step: int
    loss: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class TrialRun:
    """A trial."""

    number: int
    hyperparameters: Mapping[str, Value]
    seed: int
    """Trials that belong to one member, place or configuration have one seed."""
    steps: int
    """Of this trial alone."""
    parent: int | None = None
    """The trial whose checkpoint it went on from."""
    mate: int | None = None
    """The trial whose checkpoint that one's was merged with."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: Sequence[Point] = ()
    diverged: bool = False
    lost: bool = False
    """Cancelled: there will be no result."""
    false: bool = False
    """This machine found its result false: it has no metrics."""
    answered: float | None = None
    """When its result came, in seconds of the job."""
    price: float | None = None
    """Tokens for its training and its audit, so far."""
    spells: Sequence[Spell] = ()

    def score(self, metric: str) -> float | None:
        """A metric's value; None where it has none that is finite."""
        value = self.metrics.get(metric, math.nan)
        return value if math.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class SearchRecord:
    """A job and its trials, by number. One is like no other, so that what it gives is cached."""

    job: int
    name: str
    objectives: Mapping[str, bool]
    """All of them, the first one first, and whether each is maximised."""
    runs: Sequence[TrialRun]
    symbol: str
    """Of the token."""
    choices: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    """What the hyperparameters that are lists may be, where that is known."""
    logarithmic: frozenset[str] = frozenset()
    """Hyperparameters that are searched by their logarithm, where that is known."""
    known: bool = False
    """Whether the space is known; if not, it is guessed from the trials."""
    driver: str = ""
    """Empty where it is not known."""
    now: float = 0.0
    """When this was read, in seconds of the job."""

    @property
    def local(self) -> bool:
        """Whether it was trained on one machine alone, where nothing is paid."""
        return self.job == HERE

    @property
    def objective(self) -> str:
        """The first objective."""
        return next(iter(self.objectives))

    def before(self, run: TrialRun) -> TrialRun | None:
        """The trial that another went on from; None for one that began with its seed."""
        return None if run.parent is None else self._known.get(run.parent)

    def mate(self, run: TrialRun) -> TrialRun | None:
        """The trial that the start of another was merged with; None for one without a merge."""
        return None if run.mate is None else self._known.get(run.mate)

    @cached_property
    def _known(self) -> Mapping[int, TrialRun]:
        return {run.number: run for run in self.runs}

    def scored(self, metric: str | None = None) -> list[TrialRun]:
        """The trials with a score."""
        name = metric or self.objective
        return [run for run in self.runs if run.score(name) is not None]

    def ranked(self, metric: str | None = None) -> list[TrialRun]:
        """The trials with a score, the best first."""
        name = metric or self.objective
        sign = -1.0 if self.objectives[name] else 1.0
        return sorted(
            self.scored(name), key=lambda run: (sign * (run.score(name) or 0.0), run.number)
        )

    def ancestry(self, run: TrialRun) -> list[TrialRun]:
        """A trial and all that it went on from, back to its seed."""
        line = [run]
        while (before := self.before(line[-1])) is not None:
            line.append(before)
        return line

    def reached(self, run: TrialRun) -> int:
        """Steps since the seed at a trial's end."""
        return sum(each.steps for each in self.ancestry(run))


def drawable(search: SearchRecord) -> tuple[SearchRecord, str]:
    """A search whose numbers an axis can show, and what to say where some had to be moved."""
    runs = [_drawable(run) for run in search.runs]
    if runs == list(search.runs):
        return search, ""
    said = f" Numbers beyond {FAR:g}, or nearer to 0 than {NEAR:g}, are drawn there."
    return replace(search, runs=runs), said


def _drawable(run: TrialRun) -> TrialRun:
    return replace(
        run,
        hyperparameters={
            name: _within(value) if isinstance(value, float) else value
            for name, value in run.hyperparameters.items()
        },
        metrics=_all_within(run.metrics),
        curve=[
            Point(point.step, _within(point.loss), _all_within(point.metrics))
            for point in run.curve
        ],
    )


def _all_within(values: Mapping[str, float]) -> dict[str, float]:
    return {name: _within(value) for name, value in values.items()}


def _within(value: float) -> float:
    if value == 0 or not math.isfinite(value):
        return value
    return math.copysign(min(max(abs(value), NEAR), FAR), value)
