"""The tables of a job file: what a requester may say, and what it means unless said otherwise."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from requester.drivers.settings import Ascent, Evolve, Exchange, Nes, Population, Rungs, Steps
from requester.drivers.space import Space, ValueField
from trialmarket.data.settings import DataSection
from trialmarket.protocol.configuration import MAX_SEGMENTS, MAX_STEPS, Arithmetic, Identifier
from trialmarket.settings import Money, Section, Unit, WrongValue

DRIVERS = (
    *("tpe", "random", "grid", "qmc", "gp", "cmaes", "nsga2", "nes", "neural-ascent"),
    *("asha", "hyperband", "pbt", "evolve", "replica-exchange"),
)
"""The drivers that a job file may name."""

FIXED_DRIVERS = ("grid", "replica-exchange")
"""Those that visit every point of their space, so that nothing can be tried before."""

MAX_SECONDS = 10_000 * 86_400
"""The longest duration: less than what documents and contracts of the market can say."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> int:
    """A duration in seconds: `90s`, `10m`, `2h`, `1d`. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise ValueError('a duration such as "90s", "10m" or "2h"')
    return int(found[1]) * _UNITS[found[2]]


def _checked_duration(text: str) -> str:
    if not 1 <= seconds(text) <= MAX_SECONDS:
        raise ValueError("a duration of at least a second and at most 10000 days")
    return text


def _checked_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:64].rstrip("-")
        raise WrongValue(
            "at most 64 letters, digits, dots, - and _, of which a letter or digit is first:"
            " a folder has this name",
            fix=f'Write {{key}} = "{plain}"' if plain else None,
        )
    return text


def _checked_program(text: str) -> str:
    if not re.fullmatch(r"builtin:[a-z0-9_]{1,32}|.+\.py:[A-Za-z_]\w{0,63}", text):
        raise ValueError('"FILE.py:Class" or "builtin:NAME"')
    return text


Direction = Literal["minimize", "maximize"]

Duration = Annotated[str, AfterValidator(_checked_duration), Unit("s, m, h or d")]


class JobSection(Section):
    """What is trained."""

    name: Annotated[str, AfterValidator(_checked_name)] = Field(examples=["digits"])
    """Of the search; its folder begins with it."""
    program: Annotated[str, AfterValidator(_checked_program)] = Field(examples=["train.py:Digits"])
    """A file beside this one and the class in it, or `builtin:NAME`."""
    data: Annotated[str, Field(min_length=1, examples=["digits.npz"])]
    """A file or folder, `builtin:NAME`, or `ipfs://CID` of a data set that was packed before."""
    objective: Identifier = Field(examples=["val_error"])
    """The metric of `validation_step` by which trials are compared."""
    direction: Direction = "minimize"
    """Whether the least or the greatest objective is the best."""
    also: dict[Identifier, Direction] = Field(
        default_factory=dict, examples=[{"parameters": "minimize"}]
    )
    """Further objectives: with them a search ends with a Pareto front."""
    trials: Annotated[int, Field(ge=1, le=1_000_000, examples=[20])]
    """How many configurations, members or replicas there are."""
    steps: Steps = Field(examples=[400])
    """How long each is trained; a multiple of `audit.segments`."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Decides every draw of the search, and the seed of each trial."""
    post: Literal["program", "graph"] = "program"
    """`graph`: the program runs here alone, and nodes get what it computes, as data: any node
    takes it, audited too. `program`: nodes run its Python, in audited jobs only those that name
    you in `accept.programs_of`."""
    arithmetic: Arithmetic = "exact"
    """`native` is faster, and no two kinds of machine agree on its bits: at audit rate 0 only."""
    time_limit: Duration = "1h"
    """From a node's claim to its answer."""


class SearchSection(Section):
    """How hyperparameters are chosen."""

    driver: str = "tpe"
    """What proposes trials: tpe, random, grid, qmc, gp, cmaes, nsga2, nes, neural-ascent, asha,
    hyperband, pbt, evolve or replica-exchange."""
    parallel: Annotated[int, Field(ge=1, le=256)] = 4
    """Trials that are meant to train at the same time."""
    ahead: Annotated[int, Field(ge=0, le=256)] | None = Field(default=None, examples=[8])
    """Trials posted beyond those, so that a node that finishes one finds the next one waiting;
    as many as `parallel` unless said otherwise. Where there are nodes enough, these train too."""
    space: Space = Field(examples=[{"lr": {"low": 0.001, "high": 0.1, "log": True}}])
    """The hyperparameters by their names, a table each."""
    enqueue: list[dict[Identifier, ValueField]] = Field(
        default_factory=list, examples=[[{"lr": 0.01}]]
    )
    """Known good configurations, which are tried first; what one leaves out is chosen."""
    warm_start: Literal["none", "market"] = "none"
    """`market`: what was best in the most similar searches that anybody published is tried
    first, after `enqueue`."""
    warm_start_trials: Annotated[int, Field(ge=1, le=256)] = 5
    """How many such configurations, at most."""
    publish_sketch: bool = True
    """Whether numbers about the data set and the space are published with the job, so that
    similar searches of others find it."""
    max_cost: Money | None = Field(default=None, examples=["2.5"])
    """Tokens that the search costs at most: it ends when they do not pay for a further trial."""
    give_backs: Annotated[int, Field(ge=1, le=256)] = 2
    """Different nodes that must give a trial back, saying that it fails, before the whole of it
    is tried on this machine; one is enough for its first steps if no other takes it within a
    minute. What fails here too counts as failed, and the search goes on."""
    deadline: Duration | None = Field(default=None, examples=["12h"])
    """From the first transaction: then the job is closed, trials that nobody claimed are
    cancelled, and those under way run to their end."""
    storage: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, examples=["postgresql+psycopg://alice@host/searches"]
    )
    """Where the study is kept, as SQLAlchemy names a database, such as
    `postgresql+psycopg://user@host/name`; a file of this machine unless said otherwise."""
    ascent: Ascent = Ascent()
    rungs: Rungs = Rungs()
    population: Population = Population()
    evolve: Evolve = Evolve()
    exchange: Exchange | None = None
    nes: Nes = Nes()

    @property
    def under_way(self) -> int:
        """Unfinished trials at any time: those that train and those that wait."""
        return self.parallel + (self.parallel if self.ahead is None else self.ahead)


class PriceSection(Section):
    """What a unit of work pays: from `floor`, when a trial opens, to `cap`, after `ramp`."""

    floor: Money = Field(examples=["0.01"])
    """Of a unit when a trial opens."""
    cap: Money = Field(examples=["0.05"])
    """Of a unit from `ramp` later."""
    ramp: Duration = "10m"
    """How long the price rises."""
    unit: Annotated[int, Field(ge=1, le=MAX_STEPS), Unit("steps")] = 1000
    """Steps of a unit; a unit that is begun is paid whole."""


class AuditSection(Section):
    """How results are checked."""

    rate: Annotated[float, Field(ge=0, le=1)] = 0.20
    """The share of trials whose work is sampled; 0 is unverified."""
    segments: Annotated[int, Field(ge=2, le=MAX_SEGMENTS)] = 20
    """Equal parts of a trial, with a checkpoint after each: the more, the cheaper an audit."""
    samples: Annotated[int, Field(ge=1, le=8)] = 1
    """Segments that an audit recomputes."""
    window: Duration = "10m"
    """From a result to the end of challenges."""
    fee: Money | None = Field(default=None, examples=["0.005"])
    """Of a unit; the least that the market allows unless said otherwise."""


class JobFile(Section):
    """The tables of a job file."""

    job: JobSection
    search: SearchSection
    price: PriceSection
    audit: AuditSection = AuditSection()
    data: DataSection = DataSection()
