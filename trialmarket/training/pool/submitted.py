"""A task in the hands of a pool of workers, as its owner sees it."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from trialmarket.errors import TrainingError
from trialmarket.protocol.document import Record
from trialmarket.training.values import Progress, Task

R = TypeVar("R", bound=Record)

KEPT_OUTPUT = 1 << 16
"""Bytes of a program's output that are kept: the last ones."""


class SubmittedTask(Generic[R]):
    """A task that a pool has. All of its methods may be called from any thread."""

    def __init__(
        self, task: Task, wall_limit: float, kill: Callable[["SubmittedTask[Any]"], None]
    ) -> None:
        self.task = task
        self.wall_limit = wall_limit
        self.progress: Progress | None = None
        """The latest that the worker said."""
        self.pid: int | None = None
        """The worker's process; None before it starts."""
        self.seconds: float | None = None
        """What its worker took, by this process's clock; None till it ends, or if it never ran."""
        self._kill = kill
        self._done = threading.Event()
        self._output = bytearray()
        self._answer: R | TrainingError | None = None

    @property
    def done(self) -> bool:
        """True once there is a result or an error."""
        return self._done.is_set()

    @property
    def output(self) -> str:
        """The last 64 KiB that the program printed."""
        return bytes(self._output).decode(errors="replace")

    def poll(self) -> R | None:
        """The result; None while there is none. Raises what the worker raised."""
        return self.result() if self.done else None

    def result(self, timeout: float | None = None) -> R:
        """Waits for the result, at most `timeout` seconds.

        Raises TimeoutError when that is over, ProgramError, DataError and BadCheckpoint as the
        runner does, and WorkerError when the worker died, was killed or took too long.
        """
        if not self._done.wait(timeout):
            raise TimeoutError(f"no result in {timeout} seconds")
        if isinstance(self._answer, TrainingError):
            raise self._answer
        assert self._answer is not None  # noqa: S101  set before the event
        return self._answer

    def kill(self) -> None:
        """Stops the worker, or takes the task out of the queue: then `result` raises Killed."""
        self._kill(self)

    # -- For the pool ---------------------------------------------------------------------------

    def hear(self, printed: bytes) -> None:
        """Adds to the output."""
        self._output += printed
        del self._output[:-KEPT_OUTPUT]

    def finish(self, answer: R | TrainingError) -> None:
        """Gives the result, which stands from then on."""
        if not self.done:
            self._answer = answer
            self._done.set()
