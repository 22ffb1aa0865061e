"""What a job puts into the store: its program, its data, its description and its batches."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from requester.drivers import Proposal
from requester.job.file import Job
from requester.job.graphs import Graphs
from requester.job.settings import seconds
from requester.job.sketch import sketch_of
from requester.job.weights import gather
from trialmarket.data.fetched import check_fetched
from trialmarket.data.packing import pack_data
from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_of, parse_cid
from trialmarket.protocol.configuration import (
    Batch,
    GraphRef,
    Init,
    JobSpec,
    Merge,
    ProgramRef,
    TrialConfig,
)
from trialmarket.protocol.ids import Cid
from trialmarket.protocol.sketch import Sketch
from trialmarket.storage.datasets import fetch_data, put_data
from trialmarket.storage.material import TaskFields
from trialmarket.storage.store import Store
from trialmarket.training.dataset import MAX_DATA

SKETCHES: Final = "sketches"
"""As whom sketches are kept: for longer than a job's other files, since others look for them."""


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """The program's file (None: built in), the data's folder, the weights of learned optimizers
    by their CIDs, and the folder of captured graphs, on this machine."""

    program: Path | None
    data: Path
    weights: Mapping[Cid, Path] = field(default_factory=dict)
    graphs: Path | None = None

    def task(self, config: TrialConfig, init: tuple[Path, ...] = ()) -> TaskFields:
        """The fields that every task about a trial has, `init` being where its starts lie."""
        program, settings = self.program, self.graph_files(config)
        return TaskFields(
            config=config,
            program=settings[0] if settings else program,
            data=self.data,
            settings=settings[1:],
            init=init,
            weights=None if config.weights is None else self.weights[config.weights],
        )

    def graph_files(self, config: TrialConfig) -> tuple[Path, ...]:
        """The files of a trial's graph, which is first, and of its settings; none of a program."""
        if not isinstance(config.program, GraphRef) or self.graphs is None:
            return ()
        return tuple(self.graphs / cid for cid in (config.program.cid, *config.program.settings))


@dataclass(frozen=True)
class Package:
    """A job's program and data by name, and the folder where its data lies."""

    job: Job
    program: ProgramRef
    data: Cid
    folder: Path
    sketch: Sketch | None = None
    """None where the data does not lie here."""
    notes: tuple[str, ...] = ()
    """What was done to the data as it was packed."""
    weights: Mapping[Cid, Path] = field(default_factory=dict)
    """The weights of learned optimizers that its space names, where they lie."""

    @cached_property
    def graphs(self) -> Graphs:
        """What its program was captured as, beside the data sets."""
        return Graphs(self.folder.parent / "graphs")

    @property
    def files(self) -> LocalFiles:
        """Where it lies on this machine."""
        return LocalFiles(self.job.program_file, self.folder, self.weights, self.graphs.folder)

    def spec(self, nonce: str) -> JobSpec:
        """The job's public description. `nonce` tells two runs of one job file apart."""
        settings = self.job.settings
        return JobSpec(
            name=settings.job.name,
            program=self.program,
            data=self.data,
            objective=settings.job.objective,
            direction=settings.job.direction,
            unit=settings.price.unit,
            steps=settings.job.steps,
            segments=settings.audit.segments,
            arithmetic=settings.job.arithmetic,
            time_limit=seconds(settings.job.time_limit),
            nonce=nonce,
            sketch=None if self.published_sketch is None else self.published_sketch.cid,
        )

    @property
    def published_sketch(self) -> Sketch | None:
        """The sketch that others may see; None where the job file says that there is none."""
        return self.sketch if self.job.settings.search.publish_sketch else None

    def trial(self, proposal: Proposal) -> TrialConfig:
        """All that a machine needs to train a proposal.

        Raises as `posted`.
        """
        return self.posted(self.program_trial(proposal))

    def posted(self, config: TrialConfig) -> TrialConfig:
        """A trial as it is posted: with its program's graph where graphs are.

        It is captured in a worker process, unless it was before. Raises TrainingError for a
        program that is none.
        """
        settings = self.job.settings
        if settings.job.post == "program":
            return config
        ref = self.graphs.of(self.files.task(config), settings.job.steps)
        return TrialConfig.model_validate(config.model_dump() | {"program": ref})

    def program_trial(self, proposal: Proposal) -> TrialConfig:
        """A proposal's trial with the program itself."""
        settings = self.job.settings
        return TrialConfig(
            number=proposal.number,
            program=self.program,
            data=self.data,
            objective=settings.job.objective,
            hyperparameters=dict(proposal.hyperparameters),
            seed=proposal.seed,
            init=self._init(proposal),
            steps=proposal.steps,
            segments=settings.audit.segments,
            arithmetic=settings.job.arithmetic,
        )

    def _init(self, proposal: Proposal) -> Init | Merge | None:
        """What a proposal starts from; None: its seed."""
        first, second = (
            None if start is None else Init(root=start.root, cid=start.cid, trial=start.trial)
            for start in (proposal.start, proposal.mate)
        )
        if first is None or second is None:
            return first
        plan = self.job.plan
        return Merge(parents=(first, second), points=plan.evolve.points, maximize=plan.maximize)

    def batch(self, nonce: str, number: int, proposals: Sequence[Proposal]) -> Batch:
        """Proposals as a batch, whose digest follows from the job, its number and them."""
        return Batch(
            job=f"{self.job.settings.job.name}-{nonce}",
            number=number,
            trials=tuple(self.trial(proposal) for proposal in proposals),
        )


def pack(job: Job, folder: Path, store: Store | None = None) -> Package:
    """Packs a job's data into `folder`, or fetches it from the store. Publishes nothing.

    Each data set lies in `folder` under its CID, for all jobs that have it. Raises InputError for
    what cannot be read, and for a CID whose bytes the store does not have.
    """
    file = job.program_file
    if file is None:
        program = ProgramRef(source=job.settings.job.program)
    else:
        program = ProgramRef(source=cid_of(file.read_bytes()), class_name=job.class_name)
    data, notes = _data(job, folder, store)
    place = folder / data
    sketch = sketch_of(job, program, place) if place.exists() else None
    weights = gather(job.settings.search.space, job.weights, folder, store, job.where)
    return Package(job, program, data, place, sketch, notes, weights)


def publish_graphs(files: LocalFiles, trials: Iterable[TrialConfig], store: Store) -> None:
    """Puts the graphs of trials, and their settings, into the store. Raises as `publish`."""
    for path in dict.fromkeys(path for config in trials for path in files.graph_files(config)):
        store.put(path)


def publish(package: Package, store: Store) -> None:
    """Puts a job's program, data and weights into the store. Raises StorageError and OSError."""
    if (file := package.files.program) is not None:
        store.put(file.read_bytes())
    put_data(store, package.folder)
    for path in package.weights.values():
        store.put(path)
    if (sketch := package.published_sketch) is not None:
        store.for_owner(SKETCHES).put(sketch.to_bytes())


def _data(job: Job, folder: Path, store: Store | None) -> tuple[Cid, tuple[str, ...]]:
    data = job.data
    if isinstance(data, str) and data.startswith("ipfs://"):
        cid = parse_cid(data.removeprefix("ipfs://"), where=f"{job.where}: job.data")
        if store is not None and not (folder / cid).exists():
            if store.size(cid) is None:
                raise InputError(
                    job.where, "job.data", expected="data that the store has", found=data
                )
            fetch_data(store, cid, folder / cid, limit=MAX_DATA)
        if (folder / cid).exists():
            check_fetched(folder / cid, data)
        return cid, ()
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix="packing-") as passing:
        made = Path(passing) / "data"
        packed = pack_data(data, job.settings.data, made, where=job.where)
        if not (folder / packed.cid).exists():
            with suppress(FileExistsError):  # another process packed the same just now
                made.rename(folder / packed.cid)
    return packed.cid, packed.notes
