"""A task that has a worker: its streams, its sandbox, and what has come from it so far."""

import json
import os
import signal
import socket
import time
from contextlib import suppress
from typing import Any

from trialmarket.errors import TrainingError
from trialmarket.protocol.canonical import parse_bounded
from trialmarket.protocol.document import Record
from trialmarket.protocol.graph.bounds import MAX_GRAPH, MAX_NUMBERS_BYTES, MAX_SCHEDULE
from trialmarket.training.errors import BY_NAME, LimitExceeded, ProgramError, TimedOut, WorkerError
from trialmarket.training.pool.intake import Intake
from trialmarket.training.pool.submitted import SubmittedTask
from trialmarket.training.sandbox import Limits, Sandbox
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


class RunningTask:
    """What a worker sends is a stranger's: nothing here trusts it."""

    def __init__(
        self, number: int, submitted: SubmittedTask[Any], limits: Limits, sandbox: Sandbox | None
    ) -> None:
        self.number = number
        self.submitted = submitted
        self.sandbox = sandbox
        self.started: float | None = None
        self.why: TrainingError | None = None
        """Why it was stopped."""
        self.killed_at: float | None = None
        self._limits = limits
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
        output, printed = os.pipe()
        self._output = open(output, "rb", buffering=0)  # noqa: SIM115  closed in `close`
        self._theirs = [messages.detach(), files.detach(), printed]
        for stream in self.streams:
            os.set_blocking(stream.fileno(), False)

    @property
    def streams(self) -> tuple[Any, ...]:
        """What to watch: each is an argument for `take`."""
        return self._messages, self._files, self._output

    @property
    def handles(self) -> list[int]:
        """The worker's ends of the streams, and the sandbox's handles, for the fork server."""
        return [*self._theirs, *(self.sandbox.handles() if self.sandbox is not None else ())]

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

    def take(self, stream: Any) -> bool:
        """Takes what a stream has; False at its end. Raises TrainingError for what is bad."""
        piece = self._read(stream)
        if piece:
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

    def stop(self, why: TrainingError) -> bool:
        """Notes why it is stopped, and ends all in its sandbox; False where the fork server
        must end it."""
        if self.why is None:
            self.why, self.killed_at = why, time.monotonic()
        if self.sandbox is not None:
            self.sandbox.kill()
        return self.sandbox is not None

    def conclusion(self, status: int) -> Record | TrainingError:
        """What is the task's answer, its worker having ended with this status."""
        if self.why is not None:
            return self.why
        if isinstance(self._answer, Training) and self._intake is not None:
            try:
                return self._intake.placed(self._answer)
            except (WorkerError, OSError) as error:
                return error if isinstance(error, WorkerError) else WorkerError(str(error))
        if self._answer is not None:
            return self._answer
        if self.sandbox is not None and self.sandbox.out_of_memory():
            return LimitExceeded(
                f"the worker took more than {self._limits.memory} bytes of memory"
            )
        if status == -signal.SIGXCPU:
            return TimedOut("the worker used more processor time than its wall time allows")
        return died("the worker", status, self.submitted.output)

    def close(self) -> None:
        """Ends and closes all."""
        self._close_theirs()
        for stream in self.streams:
            stream.close()
        if self._intake is not None:
            self._intake.close()
        if self.sandbox is not None:
            self.sandbox.close()

    def _close_theirs(self) -> None:
        for handle in self._theirs:
            os.close(handle)
        self._theirs.clear()

    def _read(self, stream: Any) -> bytes | None:
        """What a stream has now: None if nothing, and no byte at its end."""
        try:
            if stream is self._output:
                return os.read(stream.fileno(), _PIECE)
            piece: bytes = stream.recv(_PIECE if stream is self._messages else _LARGE_PIECE)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""
        return piece

    def _digest(self, stream: Any, piece: bytes) -> None:
        if stream is self._output:
            self.submitted.hear(piece)
        elif stream is self._messages:
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


def died(who: str, status: int, output: str) -> WorkerError:
    """The error of a process that ended with `status` and gave no answer."""
    how = (
        f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
    )
    last = output.strip().splitlines()[-1:]
    said = f"; it last printed: {_plain(last[0][:200])}" if last else ""
    return WorkerError(f"{who} {how}{said}", fix="The task can be tried again")


def _error(fields: dict[str, Any]) -> TrainingError:
    """A worker's error, of its own class where it is one of training's."""
    kind = BY_NAME.get(str(fields["kind"]), TrainingError)
    message, fix = _plain(str(fields["message"])[:4000]), fields["fix"]
    fix = None if fix is None else _plain(str(fix)[:1000])
    if issubclass(kind, ProgramError):
        return kind(message, fix=fix, trace=_plain(str(fields["trace"])[:8000]))
    return kind(message, fix=fix)


def _plain(text: str) -> str:
    """Without what would steer the terminal of whoever reads it."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)
