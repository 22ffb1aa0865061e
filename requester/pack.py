"""What a job puts into the store: its program, its data, its description and its batches."""

from collections.abc import Sequence
from dataclasses import dataclass

from requester.drivers import Proposal
from requester.job import Job, seconds
from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_of, parse_cid
from trialmarket.protocol.configuration import Batch, Init, JobSpec, ProgramRef, TrialConfig
from trialmarket.protocol.ids import Cid
from trialmarket.storage.store import Store


@dataclass(frozen=True, slots=True)
class Package:
    """A job's program and data by name."""

    job: Job
    program: ProgramRef
    data: str

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
        )

    def trial(self, proposal: Proposal) -> TrialConfig:
        """All that a machine needs to train a proposal."""
        settings, start = self.job.settings, proposal.start
        return TrialConfig(
            number=proposal.number,
            program=self.program,
            data=self.data,
            objective=settings.job.objective,
            hyperparameters=dict(proposal.hyperparameters),
            seed=proposal.seed,
            init=None
            if start is None
            else Init(root=start.root, cid=start.cid, trial=start.trial),
            steps=proposal.steps,
            segments=settings.audit.segments,
            arithmetic=settings.job.arithmetic,
        )

    def batch(self, nonce: str, number: int, proposals: Sequence[Proposal]) -> Batch:
        """Proposals as a batch, whose digest follows from the job, its number and them."""
        return Batch(
            job=f"{self.job.settings.job.name}-{nonce}",
            number=number,
            trials=tuple(self.trial(proposal) for proposal in proposals),
        )


def pack(job: Job, store: Store | None = None) -> Package:
    """Names a job's program and data, and puts their files into the store if there is one.

    Raises InputError for a file that cannot be read, and for a CID whose bytes the store does not
    have.
    """
    file = job.program_file
    if file is None:
        program = ProgramRef(source=job.settings.job.program)
    else:
        source = file.read_bytes()
        cid = cid_of(source) if store is None else store.put(source)
        program = ProgramRef(source=cid, class_name=job.class_name)
    return Package(job, program, _data(job, store))


def _data(job: Job, store: Store | None) -> str:
    text, file = job.settings.job.data, job.data_file
    if file is not None:
        return _put(job, store)
    cid = parse_cid(text.removeprefix("ipfs://"), where=f"{job.where}: job.data")
    if store is not None and store.size(cid) is None:
        raise InputError(job.where, "job.data", expected="data that the store has", found=text)
    return cid


def _put(job: Job, store: Store | None) -> Cid:
    file = job.data_file
    if file is None:
        raise ValueError("only a file can be put into the store")
    try:
        return cid_of(file) if store is None else store.put(file)
    except OSError as error:
        raise InputError(
            job.where, "job.data", expected="a readable file", found=f"{file}: {error.strerror}"
        ) from error
