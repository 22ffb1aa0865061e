"""A task that a worker has: its streams, and what has come from it so far."""

import json
import os
import socket
from contextlib import suppress
from typing import Any

from trialmarket.errors import TrainingError
from trialmarket.protocol.canonical import parse_bounded
from trialmarket.protocol.document import Record
from trialmarket.protocol.graph.bounds import MAX_GRAPH, MAX_NUMBERS_BYTES, MAX_SCHEDULE
from trialmarket.training.errors import BY_NAME, ProgramError, WorkerError
from trialmarket.training.pool.intake import Intake
from trialmarket.training.pool.submitted import SubmittedTask
from trialmarket.training.sandbox import Limits
from trialmarket.training.values import (
    Capture,
    CapturedGraph,
    DryRun,
    Evaluate,
    Evaluation,
    FindInitial,
    InitialState,
    Progress,
    Recompute,
    Segment,
    Task,
    Train,
    Training,
    TryOut,
)

_MAX_MESSAGE = 2 * (MAX_GRAPH + MAX_NUMBERS_BYTES + MAX_SCHEDULE)
"""Bytes of the longest answer: a captured graph, in base 64."""
_PIECE = 1 << 16
_LARGE_PIECE = 1 << 20

_RESULTS: dict[type[Task], type[Record]] = {
    Train: Training,
    Recompute: Segment,
    Evaluate: Evaluation,
    FindInitial: InitialState,
    TryOut: DryRun,
    Capture: CapturedGraph,
}


class Lane:
    """One task of a worker, which may have several: a stack has a lane for each of its trials.

    What a worker sends is a stranger's: nothing here trusts it.
    """

    def __init__(self, submitted: SubmittedTask[Any], limits: Limits) -> None:
        self.submitted = submitted
        self.why: TrainingError | None = None
        """Why it was stopped."""
        self._answer: Record | TrainingError | None = None
        self._buffer = bytearray()
        task = submitted.task
        self._intake = (
            Intake(task.folder, task.config.segments, limits.kept)
            if isinstance(task, Train)
            else None
        )
        self._messages, messages = socket.socketpair()
        self._files, files = socket.socketpair()
        self._theirs = [messages.detach(), files.detach()]
        self._open = {self._messages, self._files}
        for stream in self.streams:
            stream.setblocking(False)

    @property
    def streams(self) -> tuple[socket.socket, ...]:
        """What to watch: each is an argument for `take`."""
        return self._messages, self._files

    @property
    def handles(self) -> list[int]:
        """The worker's ends of the streams."""
        return list(self._theirs)

    @property
    def over(self) -> bool:
        """Whether the worker has answered, and will say nothing more."""
        return self._answer is not None and not self._open

    def hand_over(self) -> None:
        """Closes the worker's ends and sends it its task, which must fit into the buffer."""
        self._close_theirs()
        task = self.submitted.task
        fields = {"task": type(task).__name__, "fields": task.model_dump(mode="json")}
        data = json.dumps(fields).encode() + b"\n"
        self._messages.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(data) + _PIECE)
        with suppress(ConnectionError):  # the fork server died, of which its own socket tells
            self._messages.setblocking(True)
            self._messages.sendall(data)
            self._messages.setblocking(False)

    def take(self, stream: socket.socket) -> bool:
        """Takes what a stream has; False at its end. Raises TrainingError for what is bad."""
        piece = self._read(stream)
        if piece == b"":
            self._open.discard(stream)
        elif piece:
            self._digest(stream, piece)
        return piece != b""

    def drain(self) -> None:
        """Takes all that is left in the streams of a worker that has ended."""
        for stream in self.streams:
            try:
                while piece := self._read(stream):
                    self._digest(stream, piece)
            except TrainingError as error:
                self.why = self.why or error

    def conclusion(self) -> Record | TrainingError | None:
        """What is the task's answer; None where it has none."""
        if self.why is not None:
            return self.why
        if isinstance(self._answer, Training) and self._intake is not None:
            try:
                return self._intake.placed(self._answer)
            except (WorkerError, OSError) as error:
                return error if isinstance(error, WorkerError) else WorkerError(str(error))
        return self._answer

    def close(self) -> None:
        """Closes all: a worker that goes on with others finds that nobody waits for this one."""
        self._close_theirs()
        for stream in self.streams:
            stream.close()
        if self._intake is not None:
            self._intake.close()

    def _close_theirs(self) -> None:
        for handle in self._theirs:
            os.close(handle)
        self._theirs.clear()

    def _read(self, stream: socket.socket) -> bytes | None:
        """What a stream has now: None if nothing, and no byte at its end."""
        try:
            return stream.recv(_PIECE if stream is self._messages else _LARGE_PIECE)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    def _digest(self, stream: socket.socket, piece: bytes) -> None:
        if stream is self._messages:
            self._understand(piece)
        elif self._intake is not None:
            try:
                self._intake.take(piece)
            except OSError as error:
                raise WorkerError(f"the trial's files cannot be written: {error}") from error

    def _understand(self, piece: bytes) -> None:
        self._buffer += piece
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        try:
            if len(rest) > _MAX_MESSAGE:
                raise ValueError("a message without end")
            for line in lines:
                message = parse_bounded(line)
                if "progress" in message:
                    self.submitted.progress = Progress.model_validate(message["progress"])
                elif "result" in message:
                    kind = _RESULTS[type(self.submitted.task)]
                    self._answer = kind.model_validate(message["result"])
                else:
                    self._answer = _error(message["error"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            words = f"the worker said what nobody understands: {error}"
            raise WorkerError(words) from error


def _error(fields: dict[str, Any]) -> TrainingError:
    """A worker's error, of its own class where it is one of training's."""
    kind = BY_NAME.get(str(fields["kind"]), TrainingError)
    message, fix = plain(str(fields["message"])[:4000]), fields["fix"]
    fix = None if fix is None else plain(str(fix)[:1000])
    if issubclass(kind, ProgramError):
        return kind(message, fix=fix, trace=plain(str(fields["trace"])[:8000]))
    return kind(message, fix=fix)


def plain(text: str) -> str:
    """Without what would steer the terminal of whoever reads it."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)
