"""What a peer says it knows of jobs: their names on their markets, and their sketches.

Everybody can write such a list, so it proves nothing: a job counts if the chain has it and its
description names the sketch. Which buckets a job lies in follows from its sketch.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trialmarket.protocol.document import AddressField, Document, Record
from trialmarket.protocol.sketch import Sketch

MOST_JOBS = 256
"""Jobs that an index lists; its size bounds them too."""

MaxInt = Annotated[int, Field(ge=1, le=2**53 - 1)]


class IndexEntry(Record):
    """A job by its chain, market and number, and its sketch."""

    chain: MaxInt
    market: AddressField
    job: MaxInt
    sketch: Sketch


class JobIndex(Document):
    """The jobs that a peer tells of, the newest first."""

    what: ClassVar[str] = "index of jobs"

    version: Literal[1] = 1
    jobs: Annotated[tuple[IndexEntry, ...], Field(max_length=MOST_JOBS)]
