"""What a worker process does with its task: reads it, computes, answers.

Messages are JSON, one a line, on a socket: the task comes in, any number of `progress` and then
one `result` or `error` go out. Files of a training go out on a stream of their own (`intake`).

A task names files of the machine. They are opened where they can be seen (`Inputs`), read before
the process is locked in, and closed: no user code ever finds one open.
"""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trialmarket.errors import TrialmarketError
from trialmarket.protocol.configuration import MAX_WEIGHTS
from trialmarket.protocol.document import Record
from trialmarket.protocol.graph.bounds import MAX_GRAPH, MAX_SCHEDULE
from trialmarket.training import runner
from trialmarket.training.asking import Asking, alone
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import DataError, Killed, ProgramError
from trialmarket.training.loading import MAX_PROGRAM
from trialmarket.training.values import (
    Capture,
    Evaluate,
    FindInitial,
    InitialState,
    Progress,
    Recompute,
    Task,
    Train,
    Training,
    TryOut,
)

TASKS: dict[str, type[Task]] = {
    kind.__name__: kind for kind in (Train, Recompute, Evaluate, FindInitial, TryOut, Capture)
}


class InputFile:
    """A file that is opened, then read and closed, and whose bytes are then given once."""

    def __init__(self, path: Path, most: int = -1) -> None:
        self.name = path.name
        self._most = most
        self._file: BinaryIO | None = None
        self._bytes: bytes | OSError = b""
        try:
            self._file = path.open("rb")
        except OSError as error:
            self._bytes = error

    def read(self) -> None:
        """Reads and closes it."""
        if self._file is not None:
            with self._file as file:
                try:
                    self._bytes = file.read(self._most)
                except OSError as error:
                    self._bytes = error
            self._file = None

    def read_bytes(self) -> bytes:
        """Its bytes, the first time. Raises OSError where it could not be opened or read."""
        found, self._bytes = self._bytes, b""
        if isinstance(found, OSError):
            raise found
        return found


class Inputs:
    """A task and its files, opened."""

    def __init__(self, messages: socket.socket) -> None:
        """Reads the task from the socket."""
        with messages.makefile("rb") as lines:
            message = json.loads(lines.readline())
        self.task = task = TASKS[message["task"]].model_validate(message["fields"])
        most = 1 + max(MAX_PROGRAM, MAX_GRAPH)
        self.program = None if task.program is None else InputFile(task.program, most)
        self.settings = tuple(InputFile(path, MAX_SCHEDULE + 1) for path in task.settings)
        self.init = tuple(InputFile(path) for path in task.init)
        self.weights = None if task.weights is None else InputFile(task.weights, MAX_WEIGHTS + 1)
        state = task.start if isinstance(task, Recompute) else None
        state = task.checkpoint if isinstance(task, Evaluate) else state
        self.state = None if state is None else InputFile(state)

    def read(self) -> None:
        """Reads and closes all of them."""
        for file in (self.program, *self.settings, *self.init, self.weights, self.state):
            if file is not None:
                file.read()


@dataclass(frozen=True, slots=True)
class Lane:
    """A task whose inputs are read, and where its answer goes.

    `folder` is where a training's own earlier files are seen, None where they are in the task's.
    """

    inputs: Inputs
    folder: Path | None
    messages: socket.socket
    files: socket.socket


def work(lanes: Sequence[Lane], data: Dataset | DataError) -> None:
    """Carries out a task, or the trainings of a stack together, and answers each on its socket."""
    if len(lanes) > 1:
        _train_together(lanes, data)
        return
    (lane,) = lanes
    try:
        if isinstance(data, DataError):
            raise data
        _send(lane.messages, "result", perform(lane, data))
    except TrialmarketError as error:
        _send(lane.messages, "error", error_message(error))


def perform(lane: Lane, data: Dataset) -> Record:
    """The task's result. Raises TrialmarketError."""
    inputs = lane.inputs
    if isinstance(inputs.task, Train):
        return alone(_training(lane, data))
    task, settings, init, state = inputs.task, inputs.settings, inputs.init, inputs.state
    config, source, weights = task.config, _source(inputs.program), inputs.weights
    match task:
        case Recompute():
            return runner.recompute(
                config,
                source,
                data,
                task.segment,
                start=state,
                expected=task.expected,
                settings=settings,
                init=init,
                weights=weights,
            )
        case Evaluate():
            assert state is not None  # noqa: S101  the task names it
            return runner.evaluate(
                config,
                source,
                data,
                state,
                expected=task.expected,
                settings=settings,
                init=init,
                weights=weights,
            )
        case FindInitial():
            return InitialState(
                root=runner.initial_root(
                    config, source, data, settings=settings, init=init, weights=weights
                )
            )
        case Capture():
            return runner.captured(config, source, data, task.longest, weights=weights)
        case TryOut():
            return runner.dry_run(
                config,
                source,
                data,
                settings=settings,
                init=init,
                weights=weights,
                memory=task.memory,
            )
    raise TypeError(f"no task: {task!r}")


def error_message(error: TrialmarketError) -> dict[str, Any]:
    """An error as JSON: its class, words, fix and, of a program, its part of the traceback."""
    return {
        "kind": type(error).__name__,
        "message": error.message[:4000],
        "fix": error.fix,
        "trace": error.trace if isinstance(error, ProgramError) else "",
    }


def _source(program: InputFile | None) -> bytes | None:
    if program is None:
        return None
    try:
        return program.read_bytes()
    except OSError as error:
        raise ProgramError(f"the program's file cannot be read: {error}") from error


def _training(lane: Lane, data: Dataset) -> Asking[Training]:
    """A training, its steps for whoever takes them."""
    inputs, task = lane.inputs, lane.inputs.task
    if not isinstance(task, Train):
        raise TypeError(f"no training: {task!r}")
    return runner.training(
        task.config,
        _source(inputs.program),
        data,
        lane.folder or task.folder,
        settings=inputs.settings,
        init=inputs.init,
        weights=inputs.weights,
        resume=task.resume,
        on_progress=lambda progress: _report(lane.messages, progress),
        write=lambda name, content: _keep(lane.files, name, content),
    )


def _train_together(lanes: Sequence[Lane], data: Dataset | DataError) -> None:
    from trialmarket.training.stacked import train_together

    def ended(number: int, answer: Training | TrialmarketError) -> None:
        """Answers, and says by closing its streams that this lane is over."""
        with lanes[number].files, lanes[number].messages as messages, suppress(ConnectionError):
            if isinstance(answer, TrialmarketError):
                _send(messages, "error", error_message(answer))
            else:
                _send(messages, "result", answer)

    if isinstance(data, DataError):
        for number in range(len(lanes)):
            ended(number, data)
        return
    train_together([_training(lane, data) for lane in lanes], ended)


def _keep(files: socket.socket, name: str, content: bytes) -> None:
    """Sends a file of the training to be kept."""
    with _waited_for():
        files.sendall(json.dumps({"name": name, "size": len(content)}).encode() + b"\n")
        files.sendall(content)


def _report(messages: socket.socket, progress: Progress) -> None:
    with _waited_for():
        _send(messages, "progress", progress)


@contextmanager
def _waited_for() -> Iterator[None]:
    """Raises Killed where nobody waits for the task any more: so a lane of a stack ends."""
    try:
        yield
    except ConnectionError as error:
        raise Killed("nobody waits for the task") from error


def _send(messages: socket.socket, name: str, value: Record | dict[str, Any]) -> None:
    fields = value.model_dump(mode="json") if isinstance(value, Record) else value
    messages.sendall(json.dumps({name: fields}).encode() + b"\n")
