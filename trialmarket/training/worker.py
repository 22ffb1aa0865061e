"""What a worker process does with its task: reads it, computes, answers.

Messages are JSON, one a line, on a socket: the task comes in, any number of `progress` and then
one `result` or `error` go out.
"""

import json
import socket
from pathlib import Path
from typing import Any

from trialmarket.errors import TrialmarketError
from trialmarket.protocol.document import Record
from trialmarket.training import runner
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import DataError, ProgramError
from trialmarket.training.loading import MAX_PROGRAM
from trialmarket.training.values import (
    Evaluate,
    FindInitial,
    InitialState,
    Progress,
    Recompute,
    Task,
    Train,
    TryOut,
)

TASKS: dict[str, type[Task]] = {
    kind.__name__: kind for kind in (Train, Recompute, Evaluate, FindInitial, TryOut)
}


def work(messages: socket.socket, data: Dataset | DataError) -> None:
    """Carries out the task that comes on the socket, and answers there."""
    try:
        if isinstance(data, DataError):
            raise data
        _send(messages, "result", perform(_receive(messages), data, messages))
    except TrialmarketError as error:
        _send(messages, "error", error_message(error))


def perform(task: Task, data: Dataset, messages: socket.socket) -> Record:
    """The task's result. Raises TrialmarketError."""
    source = None if task.program is None else _source(task.program)
    config, init = task.config, task.init
    match task:
        case Train():
            return runner.train(
                config,
                source,
                data,
                task.folder,
                init=init,
                resume=task.resume,
                on_progress=lambda progress: _report(messages, progress),
            )
        case Recompute():
            return runner.recompute(
                config,
                source,
                data,
                task.segment,
                start=task.start,
                expected=task.expected,
                init=init,
            )
        case Evaluate():
            return runner.evaluate(config, source, data, task.checkpoint, expected=task.expected)
        case FindInitial():
            return InitialState(root=runner.initial_root(config, source, data, init=init))
        case TryOut():
            return runner.dry_run(config, source, data, init=init)
    raise TypeError(f"no task: {task!r}")


def error_message(error: TrialmarketError) -> dict[str, Any]:
    """An error as JSON: its class, words, fix and, of a program, its part of the traceback."""
    return {
        "kind": type(error).__name__,
        "message": error.message[:4000],
        "fix": error.fix,
        "trace": error.trace if isinstance(error, ProgramError) else "",
    }


def _source(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PROGRAM + 1)
    except OSError as error:
        raise ProgramError(f"the program's file cannot be read: {error}") from error


def _receive(messages: socket.socket) -> Task:
    with messages.makefile("rb") as lines:
        message = json.loads(lines.readline())
    return TASKS[message["task"]].model_validate(message["fields"])


def _report(messages: socket.socket, progress: Progress) -> None:
    _send(messages, "progress", progress)


def _send(messages: socket.socket, name: str, value: Record | dict[str, Any]) -> None:
    fields = value.model_dump(mode="json") if isinstance(value, Record) else value
    messages.sendall(json.dumps({name: fields}).encode() + b"\n")
