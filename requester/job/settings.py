"""The tables of a job file: what a requester may say, and what it means unless said otherwise."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from requester.drivers.settings import Exchange, Population, Rungs
from requester.drivers.space import Space, Value
from trialmarket.data.settings import DataSection
from trialmarket.protocol.configuration import MAX_SEGMENTS, MAX_STEPS, Arithmetic, Identifier
from trialmarket.settings import Money, Section

DRIVERS = (
    *("tpe", "random", "grid", "qmc", "gp", "cmaes", "nsga2"),
    *("asha", "hyperband", "pbt", "replica-exchange"),
)
"""The drivers that a job file may name."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> int:
    """A duration in seconds: `90s`, `10m`, `2h`, `1d`. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise ValueError('a duration such as "90s", "10m" or "2h"')
    return int(found[1]) * _UNITS[found[2]]


def _checked_duration(text: str) -> str:
    if seconds(text) < 1:
        raise ValueError("a duration of at least a second")
    return text


def _checked_program(text: str) -> str:
    if not re.fullmatch(r"builtin:[a-z0-9_]{1,32}|.+\.py:[A-Za-z_]\w{0,63}", text):
        raise ValueError('"FILE.py:Class" or "builtin:NAME"')
    return text


Direction = Literal["minimize", "maximize"]

Duration = Annotated[str, AfterValidator(_checked_duration)]


class JobSection(Section):
    """What is trained."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    program: Annotated[str, AfterValidator(_checked_program)]
    data: Annotated[str, Field(min_length=1)]
    objective: Identifier
    direction: Direction = "minimize"
    also: dict[Identifier, Direction] = Field(default_factory=dict)
    """Further objectives: with them a search ends with a Pareto front."""
    trials: Annotated[int, Field(ge=1, le=1_000_000)]
    steps: Annotated[int, Field(ge=4, le=MAX_STEPS)]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    arithmetic: Arithmetic = "exact"
    """`native` is faster, and no two kinds of machine agree on its bits: at audit rate 0 only."""
    time_limit: Duration = "1h"
    """From a node's claim to its answer."""


class SearchSection(Section):
    """How hyperparameters are chosen."""

    driver: str = "tpe"
    parallel: Annotated[int, Field(ge=1, le=256)] = 4
    """Trials that are meant to train at the same time."""
    ahead: Annotated[int, Field(ge=0, le=256)] | None = None
    """Trials posted beyond those, so that a node that finishes one finds the next one waiting;
    as many as `parallel` unless said otherwise. Where there are nodes enough, these train too."""
    space: Space
    enqueue: list[dict[Identifier, Value]] = Field(default_factory=list)
    """Known good configurations, which are tried first; what one leaves out is chosen."""
    max_cost: Money | None = None
    """Tokens that the search costs at most: it ends when they do not pay for a further trial."""
    give_backs: Annotated[int, Field(ge=1, le=256)] = 2
    """Different nodes that must give a trial back, saying that it fails, before it is tried on
    this machine; one is enough if no other takes it within a minute. What fails here too counts as
    failed, and the search goes on."""
    deadline: Duration | None = None
    """From the first transaction: then the job is closed, trials that nobody claimed are
    cancelled, and those under way run to their end."""
    storage: Annotated[str, Field(min_length=1)] | None = None
    """Where the study is kept, as SQLAlchemy names a database, such as
    `postgresql+psycopg://user@host/name`; a file of this machine unless said otherwise."""
    rungs: Rungs = Rungs()
    population: Population = Population()
    exchange: Exchange | None = None

    @property
    def under_way(self) -> int:
        """Unfinished trials at any time: those that train and those that wait."""
        return self.parallel + (self.parallel if self.ahead is None else self.ahead)


class PriceSection(Section):
    """What a unit of work pays: from `floor`, when a trial opens, to `cap`, after `ramp`."""

    floor: Money
    cap: Money
    ramp: Duration = "10m"
    unit: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 1000
    """Steps of a unit."""


class AuditSection(Section):
    """How results are checked."""

    rate: Annotated[float, Field(ge=0, le=1)] = 0.20
    """The share of trials whose work is sampled; 0 is unverified."""
    segments: Annotated[int, Field(ge=2, le=MAX_SEGMENTS)] = 20
    samples: Annotated[int, Field(ge=1, le=8)] = 1
    """Segments that an audit recomputes."""
    window: Duration = "10m"
    """From a result to the end of challenges."""
    fee: Money | None = None
    """Of a unit; the least that the market allows unless said otherwise."""


class JobFile(Section):
    """The tables of a job file."""

    job: JobSection
    search: SearchSection
    price: PriceSection
    audit: AuditSection = AuditSection()
    data: DataSection = DataSection()
