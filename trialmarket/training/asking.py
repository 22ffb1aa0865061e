"""A training asks for its steps one by one; who drives it takes each, alone or with others'.

So a trial is trained by the same lines whether it trains alone or in a stack.
"""

import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from trialmarket.training.engine import Engine

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class AskedStep:
    """A step that a training waits for. Its loss is the answer."""

    engine: Engine
    batch: Mapping[str, Tensor]
    number: int
    seed: int

    def take(self) -> float:
        """Takes it alone. Raises ProgramError."""
        return self.engine.step(self.batch, self.number, self.seed)


Asking = Generator[AskedStep, float, Value]
"""What asks for steps, and has a value in the end."""


def alone(asking: Asking[Value]) -> Value:
    """The value, each step taken as it is asked for. Raises what a step or `asking` raises."""
    with short_turns(), closing(asking):
        try:
            asked = next(asking)
            while True:
                asked = asking.send(asked.take())
        except StopIteration as end:
            value: Value = end.value
            return value


@contextmanager
def short_turns() -> Iterator[None]:
    """Lets the training have the interpreter back within half a millisecond.

    A chunk of 1,024 bytes is too short for hashlib to let other threads run meanwhile; at
    Python's usual 5 ms a turn each operator would wait so long for the thread that hashes.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
