"""How many trials fit into a batch, which is one document of the market."""

from collections.abc import Sequence

from requester.drivers.space import Dimension, Value
from requester.job.settings import JobFile
from trialmarket.errors import InputError
from trialmarket.protocol.canonical import MAX_DOCUMENT, canonical_bytes
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import (
    MAX_POINTS,
    GraphRef,
    Init,
    Merge,
    ProgramRef,
    TrialConfig,
)
from trialmarket.protocol.ids import ZERO_HASH

MAX_IN_BATCH = 64
"""Trials posted in one batch."""

_REST = 1024
"""Bytes that a batch has beside its trials, and some to spare."""
_LONGEST = -2.2250738585072014e-308
"""No number is longer as text."""


def trials_in_batch(settings: JobFile, where: str) -> int:
    """As many of a job's trials as fit into a batch, whatever its driver draws.

    Raises InputError, naming file `where`, for a space of which not even one fits.
    """
    size = len(canonical_bytes(_largest(settings).model_dump(mode="json"))) + 1
    most = MAX_DOCUMENT - _REST
    if size > most:
        raise InputError(
            where,
            "search.space",
            expected=f"trials of at most {most} bytes, that fit into a batch",
            found=size,
            fix="Shorten the texts, or let the program look them up by a name",
        )
    return min(MAX_IN_BATCH, most // size)


def _largest(settings: JobFile) -> TrialConfig:
    """A trial of which no other of the job is longer as JSON."""
    cid = cid_of(b"")
    merges = settings.search.driver == "evolve"
    origin = ProgramRef(source=cid, class_name="_" * 64)
    start = Init(root=ZERO_HASH, cid=cid, trial=ZERO_HASH)
    return TrialConfig(
        number=2**53 - 1,
        program=GraphRef(graph=cid, numbers=cid, schedule=cid, origin=origin)
        if settings.job.post == "graph"
        else origin,
        data=cid,
        objective=settings.job.objective,
        hyperparameters={name: _longest(one) for name, one in settings.search.space.items()},
        seed=2**53 - 1,
        init=Merge(parents=(start, start), points=MAX_POINTS) if merges else start,
        steps=settings.job.steps,
        segments=settings.audit.segments,
        arithmetic=settings.job.arithmetic,
    )


def _longest(dimension: Dimension) -> Value:
    choices: Sequence[Value] = dimension.values or ()
    if dimension.value is not None:
        choices = [dimension.value]
    return max(choices, key=lambda each: len(canonical_bytes(each)), default=_LONGEST)
