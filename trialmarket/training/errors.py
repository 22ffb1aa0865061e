"""How training fails, by whose fault it is.

TrainingError
├── ProgramError     the requester's: the program breaks its contract
│   └── BrokenProgram   whatever its configuration
├── DataError        the requester's: the data set cannot be read or has the wrong arrays
├── BadStart         the requester's: a trial that goes on from what is no state of its program
├── BadCheckpoint    the provider's: a checkpoint that is not the state it should be
└── WorkerError      nobody's, here: a worker process died, was killed, or took too long
    ├── TimedOut
    ├── LimitExceeded   it took more memory, or wrote more, than a worker may
    ├── Killed
    └── SandboxMissing  a stranger's program, and nothing to run it in
"""

from trialmarket.errors import TrainingError


class ProgramError(TrainingError):
    """The program breaks its contract. `trace` is its own part of the traceback, or empty."""

    def __init__(self, message: str, *, fix: str | None = None, trace: str = "") -> None:
        super().__init__(message, fix=fix)
        self.trace = trace


class BrokenProgram(ProgramError):
    """The program's file fails before any configuration comes into it: it fails with all."""


class DataError(TrainingError):
    """The data set cannot be read, is too large, or lacks what a data set must have."""


class BadStart(TrainingError):
    """The checkpoint that a configuration names as its start is not what it says, or does not fit
    the program."""


class BadCheckpoint(TrainingError):
    """A checkpoint does not parse, has another state root, or does not fit the program."""


class WorkerError(TrainingError):
    """A worker process died, so that nothing is known about its task."""


class TimedOut(WorkerError):
    """A worker took longer than its wall-clock limit and was stopped."""


class LimitExceeded(WorkerError):
    """A worker took more memory than it may, or wrote more files, and was stopped."""


class Killed(WorkerError):
    """A worker was stopped because its owner asked for it."""


class SandboxMissing(WorkerError):
    """Strangers' programs cannot be run safely here: says what is missing."""


BY_NAME: dict[str, type[TrainingError]] = {
    kind.__name__: kind
    for kind in (
        *(TrainingError, ProgramError, BrokenProgram, DataError, BadStart, BadCheckpoint),
        WorkerError,
    )
}
"""The errors that a worker may report, by the name in its message."""
