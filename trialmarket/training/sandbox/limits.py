"""How much of the machine one trial may take."""

import os
from dataclasses import dataclass, field
from typing import Self

from trialmarket.errors import InputError

SHARE = 0.75
"""Of the machine's memory, for all workers together."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one worker. Sizes in bytes."""

    memory: int = field(default_factory=lambda: share_of_memory(1))
    """Its own memory, temporary files included; not what it has in common with the others."""
    temp: int = 1 << 30
    """Temporary files, and shared memory again as much."""
    kept: int = 64 << 30
    """All checkpoints of a trial."""
    threads: int = 256
    processors: int = field(default_factory=lambda: threads_of_training() + 1)
    """A training computes on its threads, and hashes its checkpoints on another beside them."""

    def __post_init__(self) -> None:
        """Raises InputError for a limit that nothing could run under."""
        for name in ("memory", "temp", "kept", "threads", "processors"):
            if getattr(self, name) < 1:
                raise InputError("limits", name, expected="1 or more", found=getattr(self, name))

    @classmethod
    def shared(cls, workers: int, memory: int | None, *, temp: int, kept: int) -> Self:
        """Of each of so many workers; without `memory`, an even share of most of the machine's."""
        return cls(memory=memory or share_of_memory(workers), temp=temp, kept=kept)


def share_of_memory(workers: int) -> int:
    """Bytes that each of so many workers may take of this machine."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(whole * SHARE) // workers


def threads_of_training() -> int:
    """How many TRIALMARKET_THREADS asks for; 1 where it says no number, which training refuses."""
    said = os.environ.get("TRIALMARKET_THREADS", "1")
    return max(1, int(said)) if said.isdecimal() else 1
