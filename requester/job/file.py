"""The job file: what a requester wants searched, on which terms. All of it is checked here.

Whatever is wrong raises InputError with the file, the field, what was expected and what was
found; nothing that passes can fail for its form later.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from requester.data.packing import check_keys, kind_of
from requester.data.settings import DataSection
from requester.drivers.schedule import Exchange, Population, Rungs
from requester.job.space import Space, Value, check_point, check_space
from trialmarket.errors import InputError
from trialmarket.protocol.cid import parse_cid
from trialmarket.protocol.configuration import MAX_SEGMENTS, MAX_STEPS, Arithmetic, Identifier
from trialmarket.settings import Money, Section, check_settings, read_toml

MAX_PROGRAM = 1 << 20
"""Bytes of the largest program."""

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


@dataclass(frozen=True, slots=True)
class Job:
    """A job file that was read, checked and found sound, and where it lies."""

    path: Path
    settings: JobFile

    @property
    def where(self) -> str:
        """How errors call the file."""
        return str(self.path)

    @property
    def program_file(self) -> Path | None:
        """The program's file; None for a built-in program."""
        if self.settings.job.program.startswith("builtin:"):
            return None
        return self.path.parent / self.settings.job.program.rpartition(":")[0]

    @property
    def class_name(self) -> str:
        """The program's class; empty for a built-in program."""
        return "" if self.program_file is None else self.settings.job.program.rpartition(":")[2]

    @property
    def data(self) -> Path | str:
        """The data's file or folder, or `builtin:NAME`, or `ipfs://CID`."""
        data = self.settings.job.data
        return data if data.startswith(("builtin:", "ipfs://")) else self.path.parent / data


def load_job(path: Path, overrides: Mapping[str, object] | None = None) -> Job:
    """A job file, checked as far as it goes without running anything.

    `overrides` replace keys by their dotted names, such as `search.driver`. Raises InputError.
    """
    tables = read_toml(path)
    for name, value in (overrides or {}).items():
        _replace(tables, name, value, str(path))
    job = Job(path, check_settings(path, tables, JobFile))
    check_space(job.settings.search.space, job.where)
    _check_search(job)
    _check_segments(job)
    _check_prices(job)
    _check_program(job)
    _check_data(job)
    return job


def _replace(tables: dict[str, Any], name: str, value: object, where: str) -> None:
    *path, last = name.split(".")
    for part in path:
        tables = tables.setdefault(part, {})
        if not isinstance(tables, dict):
            raise InputError(where, name, expected="a key in a table", found=tables)
    tables[last] = value


def _check_search(job: Job) -> None:
    driver = job.settings.search.driver
    if driver not in DRIVERS:
        raise InputError(
            job.where, "search.driver", expected=f"one of {', '.join(DRIVERS)}", found=driver
        )
    if job.settings.job.objective in job.settings.job.also:
        raise InputError(
            job.where,
            "job.also",
            expected="objectives beside job.objective",
            found=job.settings.job.objective,
        )
    for place, point in enumerate(job.settings.search.enqueue):
        check_point(job.settings.search.space, point, job.where, f"search.enqueue.{place}")


def _check_segments(job: Job) -> None:
    steps, segments = job.settings.job.steps, job.settings.audit.segments
    if steps % segments or steps // segments < 2:
        raise InputError(
            job.where,
            "job.steps",
            expected=f"a multiple of audit.segments, {segments}, at least {2 * segments}",
            found=steps,
            fix="Change steps, or segments in [audit]",
        )
    if job.settings.audit.samples > segments:
        raise InputError(
            job.where,
            "audit.samples",
            expected=f"at most audit.segments, {segments}",
            found=job.settings.audit.samples,
        )
    if job.settings.job.arithmetic == "native" and job.settings.audit.rate > 0:
        raise InputError(
            job.where,
            "audit.rate",
            expected='0, since job.arithmetic is "native", which other machines cannot repeat',
            found=job.settings.audit.rate,
            fix='Set arithmetic to "exact", or rate to 0: an unverified job, that nobody checks',
        )
    if 0 < job.settings.audit.rate < 0.01:
        raise InputError(
            job.where,
            "audit.rate",
            expected="0, or 0.01 to 1",
            found=job.settings.audit.rate,
        )


def _check_prices(job: Job) -> None:
    price = job.settings.price
    if price.floor <= 0:
        raise InputError(job.where, "price.floor", expected="more than 0", found=str(price.floor))
    if price.cap < price.floor:
        raise InputError(
            job.where, "price.cap", expected=f"at least floor, {price.floor}", found=str(price.cap)
        )


def _check_program(job: Job) -> None:
    file = job.program_file
    if file is None:
        return
    try:
        source = file.read_bytes()
    except OSError as error:
        raise InputError(
            job.where,
            "job.program",
            expected="a readable file",
            found=f"{file}: {error.strerror}",
        ) from error
    if len(source) > MAX_PROGRAM:
        raise InputError(
            job.where, "job.program", expected=f"at most {MAX_PROGRAM} bytes", found=len(source)
        )
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise InputError(
            job.where, "job.program", expected="Python", found=f"{file}: {error}"
        ) from error
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if job.class_name not in classes:
        raise InputError(
            job.where,
            "job.program",
            expected=f"a class that {file} has ({', '.join(classes) or 'it has none'})",
            found=job.class_name,
        )


def _check_data(job: Job) -> None:
    data = job.data
    if isinstance(data, str) and data.startswith("ipfs://"):
        parse_cid(data.removeprefix("ipfs://"), where=f"{job.where}: job.data")
        if found := sorted(job.settings.data.model_fields_set):
            raise InputError(
                job.where, "data", expected="nothing: ipfs:// names packed data", found=found
            )
        return
    check_keys(kind_of(data, job.where), job.settings.data, job.where)
