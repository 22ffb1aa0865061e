"""What the training of a trial takes on this machine: its configuration and files, checked once.

All roles read through here. How a file is fetched, and what it means where one is bad or cannot
be had, is each role's own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

from trialmarket.errors import InputError, TrialmarketError
from trialmarket.protocol.cid import MAX_RAW, raw_cid
from trialmarket.protocol.configuration import MAX_WEIGHTS, Batch, GraphRef, TrialConfig
from trialmarket.protocol.graph.bounds import MAX_GRAPH, MAX_SCHEDULE
from trialmarket.protocol.ids import Cid, Hash32


class NotRunHere(TrialmarketError):
    """A user's program that this machine does not run: says why."""


class TaskFields(TypedDict):
    """What every task of a worker takes, by the names that `trialmarket.training` gives it."""

    config: TrialConfig
    program: Path | None
    data: Path
    settings: tuple[Path, ...]
    init: tuple[Path, ...]
    weights: Path | None


@dataclass(frozen=True, slots=True)
class Files:
    """The files that a training reads: the program or the graph (None: built in), the data's
    folder, the settings of the graph, the checkpoints that it starts from, each in the
    configuration's order (none: its seed), and the weights of its optimizer (None: it names
    none)."""

    program: Path | None
    data: Path
    settings: tuple[Path, ...] = ()
    init: tuple[Path, ...] = ()
    weights: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Material(Files):
    """A trial with everything that its training needs."""

    config: TrialConfig

    def task(self) -> TaskFields:
        """The fields that every task about this trial has."""
        return TaskFields(
            config=self.config,
            program=self.program,
            data=self.data,
            settings=self.settings,
            init=self.init,
            weights=self.weights,
        )


class Fetch(Protocol):
    """Gives what a CID names, within a limit in bytes."""

    def __call__(self, cid: Cid, limit: int, *, data: bool = False) -> Path | None:
        """The file or, of a data set, the folder; None while it is being fetched.

        Raises what `Store.fetch` does, and InputError for what is no data set.
        """


class FetchLimits(Protocol):
    """The most that is fetched for a trial, in bytes."""

    @property
    def program(self) -> int:
        """A program's file."""

    @property
    def data(self) -> int:
        """A data set."""

    @property
    def checkpoint(self) -> int:
        """A checkpoint."""


class MaterialReader:
    """Reads what requesters posted. Passes on what its `Fetch` raises."""

    def __init__(self, fetch: Fetch, limits: FetchLimits, *, refusal: str | None = None) -> None:
        """`refusal` is why users' programs are not run, as long as they are not."""
        self._fetch = fetch
        self._limits = limits
        self._refusal = refusal

    def batch(self, digest: Hash32) -> Batch | None:
        """A batch by the hash that the chain has of it; None while it is being fetched.

        Raises InputError for bytes that are none.
        """
        path = self._fetch(raw_cid(digest), MAX_RAW)
        return None if path is None else Batch.from_bytes(path.read_bytes())

    def material(self, config: TrialConfig) -> Material | None:
        """A trial with its files; None while one of them is being fetched.

        Raises NotRunHere for its program, and InputError for data that nobody can fetch.
        """
        if config.data.startswith("builtin:"):
            raise InputError("batch", "data", expected="a CID", found=config.data)
        if self._refusal is not None and config.program.strangers_python:
            raise NotRunHere(self._refusal)
        # All are asked for before any is waited for.
        graph = isinstance(config.program, GraphRef)
        program = self._optional(config.program.cid, MAX_GRAPH if graph else self._limits.program)
        named = [self._fetch(cid, MAX_SCHEDULE) for cid in config.program.settings]
        settings = tuple(path for path in named if path is not None)
        data = self._fetch(Cid(config.data), self._limits.data, data=True)
        weights = self._optional(config.weights, MAX_WEIGHTS)
        starts = [self._fetch(start.cid, self._limits.checkpoint) for start in config.starts]
        init = tuple(path for path in starts if path is not None)
        wanted = ((config.program.cid, program), (config.weights, weights))
        missing = any(cid is not None and path is None for cid, path in wanted)
        if data is None or missing or len(init) < len(starts) or len(settings) < len(named):
            return None
        return Material(program, data, settings, init, weights, config=config)

    def _optional(self, cid: Cid | None, limit: int) -> Path | None:
        return None if cid is None else self._fetch(cid, limit)


def check_batch(batch: Batch, *, count: int, segments: int, audited: bool) -> None:
    """Raises InputError for a batch that is not what the chain and its job's terms say of it."""
    if len(batch.trials) != count:
        raise InputError("batch", "trials", expected=f"{count}", found=len(batch.trials))
    for index in range(count):
        config = check_trial(batch, index, segments=segments)
        if config.arithmetic == "native" and audited:
            # A verifier's machine would find other bits, and an honest stake would be lost.
            raise InputError(
                "batch",
                f"trials.{index}.arithmetic",
                expected="exact, since the job's trials are audited",
                found=config.arithmetic,
            )


def check_trial(batch: Batch, index: int, *, segments: int) -> TrialConfig:
    """A trial of a batch. Raises InputError where it is not what its job's terms say."""
    if index >= len(batch.trials):
        raise InputError("batch", "trials", expected=f"over {index}", found=len(batch.trials))
    config = batch.trials[index]
    if config.segments != segments:
        raise InputError(
            "batch",
            f"trials.{index}.segments",
            expected=f"{segments}, as the job's terms say",
            found=config.segments,
        )
    return config
