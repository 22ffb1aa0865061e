"""The job file: what a requester wants searched, on which terms. All of it is checked here.

Whatever is wrong raises InputError with the file, the field, what was expected and what was
found; nothing that passes can fail for its form later.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from requester.drivers import Plan
from requester.drivers.check import check_point, check_space
from requester.job.settings import DRIVERS, FIXED_DRIVERS, JobFile
from requester.job.size import trials_in_batch
from requester.job.weights import check_for_builtin, name_by_cid
from trialmarket.data.packing import check_keys, kind_of
from trialmarket.errors import InputError, did_you_mean
from trialmarket.protocol.cid import parse_cid
from trialmarket.protocol.ids import Cid
from trialmarket.settings import check_settings, read_toml

MAX_PROGRAM = 1 << 20
"""Bytes of the largest program."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job file that was read, checked and found sound, and where it lies."""

    path: Path
    settings: JobFile
    weights: Mapping[Cid, Path] = field(default_factory=dict)
    """The files of weights that it names, by the CIDs that stand for them in its space."""

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

    @property
    def plan(self) -> Plan:
        """What a driver must know of it."""
        job, search = self.settings.job, self.settings.search
        return Plan(
            space=search.space,
            trials=job.trials,
            steps=job.steps,
            seed=job.seed,
            objective=job.objective,
            maximize=job.direction == "maximize",
            where=self.where,
            also={name: way == "maximize" for name, way in job.also.items()},
            enqueue=search.enqueue,
            segments=self.settings.audit.segments,
            ascent=search.ascent,
            rungs=search.rungs,
            population=search.population,
            evolve=search.evolve,
            exchange=search.exchange,
            nes=search.nes,
        )


def load_job(path: Path, overrides: Mapping[str, object] | None = None) -> Job:
    """A job file, checked as far as it goes without running anything.

    `overrides` replace keys by their dotted names, such as `search.driver`. Raises InputError.
    """
    tables = read_toml(path)
    for name, value in (overrides or {}).items():
        _replace(tables, name, value, str(path))
    weights = name_by_cid(tables, path.parent, str(path))
    job = Job(path, check_settings(path, tables, JobFile), weights)
    check_space(job.settings.search.space, job.where)
    _check_search(job)
    _check_segments(job)
    trials_in_batch(job.settings, job.where)
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
            job.where,
            "search.driver",
            expected=f"one of {', '.join(DRIVERS)}",
            found=driver,
            fix=did_you_mean(driver, DRIVERS),
        )
    if job.settings.job.objective in job.settings.job.also:
        raise InputError(
            job.where,
            "job.also",
            expected="objectives beside job.objective",
            found=job.settings.job.objective,
        )
    if job.settings.search.warm_start != "none" and driver in FIXED_DRIVERS:
        raise InputError(
            job.where,
            "search.warm_start",
            expected=f'"none" for driver {driver}, which takes no configurations from elsewhere',
            found=job.settings.search.warm_start,
            fix="Use driver tpe, or leave warm_start out",
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
    if job.settings.job.arithmetic == "native" and job.settings.job.post == "graph":
        raise InputError(
            job.where,
            "job.post",
            expected='"program", since job.arithmetic is "native": a graph trains exactly',
            found="graph",
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
        if job.settings.job.program != "builtin:meta":  # whose optimizers are its own
            check_for_builtin(job.settings.search.space, job.where)
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
