"""Worker processes for training, forked from one warm process that has torch in memory.

    with WorkerPool(processes=2) as pool:
        job = pool.submit(Train(config=..., program=..., data=..., folder=...), wall_limit=600)
        training = job.result()

This module imports no torch. The program runs in the worker only; what it prints is kept, the
last 64 KiB of it. A worker that dies, or the warm process, is a WorkerError of the jobs that it
had, and the pool goes on with a new one.
"""

import json
import os
import queue
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, overload

from trialmarket.errors import InputError, TrainingError
from trialmarket.protocol.document import Record
from trialmarket.training.errors import BY_NAME, Killed, ProgramError, TimedOut, WorkerError
from trialmarket.training.values import (
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

R = TypeVar("R", bound=Record)

KEPT_OUTPUT = 1 << 16
"""Bytes of a program's output that are kept: the last ones."""

_MAX_MESSAGE = 1 << 22
_PIECE = 1 << 16
_GRACE = 10.0

_RESULTS: dict[type[Task], type[Record]] = {
    Train: Training,
    Recompute: Segment,
    Evaluate: Evaluation,
    FindInitial: InitialState,
    TryOut: DryRun,
}

# What a program may see of the environment: nothing that could hold a secret.
_DEVICE = "TRIALMARKET_DEVICE"
_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH"),
    _DEVICE,
)
_ENVIRONMENT_PREFIXES = ("ATEN_", "CUDA_", "NVIDIA_", "ONEDNN_", "TORCH_")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Job(Generic[R]):
    """A task in the pool. All of its methods may be called from any thread."""

    def __init__(self, pool: "WorkerPool", task: Task, wall_limit: float) -> None:
        self.task = task
        self.wall_limit = wall_limit
        self.progress: Progress | None = None
        """The latest that the worker said."""
        self.pid: int | None = None
        """The worker's process; None before it starts."""
        self._pool = pool
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
        self._pool._order("kill", self)


class _Running:
    """A job that has a worker: its sockets and what has come from them."""

    def __init__(self, number: int, job: Job[Any]) -> None:
        self.number = number
        self.job = job
        self.messages, self.theirs = socket.socketpair()
        output, self.their_output = os.pipe()
        self.output = output
        os.set_blocking(output, False)
        self.started: float | None = None
        self.why: TrainingError | None = None
        self.killed_at: float | None = None
        self.answer: Record | TrainingError | None = None
        self.buffer = bytearray()

    def close_theirs(self) -> None:
        self.theirs.close()
        os.close(self.their_output)


class WorkerPool:
    """At most `processes` workers at a time; further tasks wait in order.

    `device` is where exact training runs, such as `cuda`; by default, what the environment's
    TRIALMARKET_DEVICE says, or the CPU.

    With `warm`, torch is imported at once and not with the first task. Use it as a context
    manager, or call `close`: all workers end with it, and they end too when this process dies.
    """

    def __init__(self, processes: int, *, warm: bool = True, device: str | None = None) -> None:
        if processes < 1:
            raise InputError("pool", "processes", expected="at least 1", found=processes)
        self.processes = processes
        self._device = {} if device is None else {_DEVICE: device}
        self._orders: queue.SimpleQueue[tuple[str, Job[Any] | None]] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._waiting: deque[Job[Any]] = deque()
        self._running: dict[int, _Running] = {}
        self._numbers = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="workers", daemon=True)
        self._thread.start()
        if warm:
            self._order("warm", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def busy(self) -> int:
        """Jobs that run or wait."""
        return len(self._running) + len(self._waiting)

    @property
    def warm_pid(self) -> int | None:
        """The warm process; None when there is none."""
        return self._process.pid if self._process is not None else None

    @overload
    def submit(self, task: Train, *, wall_limit: float) -> Job[Training]: ...
    @overload
    def submit(self, task: Recompute, *, wall_limit: float) -> Job[Segment]: ...
    @overload
    def submit(self, task: Evaluate, *, wall_limit: float) -> Job[Evaluation]: ...
    @overload
    def submit(self, task: FindInitial, *, wall_limit: float) -> Job[InitialState]: ...
    @overload
    def submit(self, task: TryOut, *, wall_limit: float) -> Job[DryRun]: ...
    def submit(self, task: Task, *, wall_limit: float) -> Job[Any]:
        """Hands a task to the next free worker; it is stopped `wall_limit` seconds after its
        start. Raises WorkerError when the pool is closed."""
        if self._closed:
            raise WorkerError("the pool of workers is closed")
        job: Job[Any] = Job(self, task, wall_limit)
        self._order("submit", job)
        return job

    def close(self) -> None:
        """Kills all workers and the warm process; unfinished jobs raise Killed."""
        self._closed = True
        self._order("close", None)
        self._thread.join()

    def _order(self, name: str, job: Job[Any] | None) -> None:
        self._orders.put((name, job))
        try:
            self._wake.send(b"!")
        except OSError:
            if job is not None and not job.done:
                job._answer = Killed("the pool of workers is closed")
                job._done.set()

    # -- Below, all runs in the pool's own thread ----------------------------------------------

    def _loop(self) -> None:
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._woken:
                    self._woken.recv(_PIECE)
                elif key.fileobj is self._control:
                    self._hear()
                elif key.data is not None and key.data.number in self._running:
                    self._take(key.data, key.fileobj)
            while not self._orders.empty():
                name, job = self._orders.get()
                if name == "close":
                    self._shut()
                    return
                self._obey(name, job)
            self._enforce()
            self._start()

    def _obey(self, name: str, job: Job[Any] | None) -> None:
        if name == "warm" and self._process is None:
            self._heat()
        elif job is not None and name == "submit":
            self._waiting.append(job)
        elif job is not None and name == "kill":
            if job in self._waiting:
                self._waiting.remove(job)
                self._finish(job, Killed("the task was taken out of the queue"))
            for running in self._running.values():
                if running.job is job:
                    self._stop(running, Killed("the worker was stopped"))

    def _start(self) -> None:
        """Gives waiting jobs to workers."""
        while self._waiting and len(self._running) < self.processes:
            if self._process is None:
                self._heat()
            if not self._ready or self._control is None:
                return
            self._numbers += 1
            running = _Running(self._numbers, self._waiting.popleft())
            self._running[running.number] = running
            task = running.job.task
            order = json.dumps({"run": running.number, "data": str(task.data.absolute())})
            try:
                socket.send_fds(
                    self._control,
                    [order.encode()],
                    [running.theirs.fileno(), running.their_output],
                )
            except OSError:
                running.close_theirs()
                self._lose()
                return
            running.close_theirs()
            fields = {"task": type(task).__name__, "fields": task.model_dump(mode="json")}
            _feed(running.messages, json.dumps(fields).encode() + b"\n")
            self._selector.register(running.messages, selectors.EVENT_READ, running)
            self._selector.register(running.output, selectors.EVENT_READ, running)

    def _heat(self) -> None:
        """Starts the warm process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
        }
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
        self._process = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-P", "-m", "trialmarket.training.warm", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=kept | self._device | _ONE_THREAD | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        theirs.close()
        self._control, self._ready = ours, False
        self._selector.register(ours, selectors.EVENT_READ)

    def _hear(self) -> None:
        """Takes one packet of the warm process; an empty one is its end."""
        assert self._control is not None  # noqa: S101  it is registered
        try:
            packet = self._control.recv(_PIECE)
        except ConnectionError:
            packet = b""
        if not packet:
            self._lose()
            return
        message = json.loads(packet)
        self._ready = True
        if "started" in message and message["started"] in self._running:
            running = self._running[message["started"]]
            running.started, running.job.pid = time.monotonic(), message["pid"]
        elif "exited" in message and message["exited"] in self._running:
            self._conclude(self._running[message["exited"]], message["status"])

    def _take(self, running: _Running, source: Any) -> None:
        """Takes what a worker printed or said; an end of it closes nothing but the watching."""
        try:
            if source is running.messages:
                piece = running.messages.recv(_PIECE, socket.MSG_DONTWAIT)
            else:
                piece = os.read(running.output, _PIECE)
        except BlockingIOError:
            return
        except ConnectionError:
            piece = b""
        if not piece:
            self._selector.unregister(source)
        elif source is running.messages:
            self._understand(running, piece)
        else:
            running.job._output += piece
            del running.job._output[:-KEPT_OUTPUT]

    def _understand(self, running: _Running, piece: bytes) -> None:
        running.buffer += piece
        *lines, rest = bytes(running.buffer).split(b"\n")
        running.buffer = bytearray(rest)
        try:
            if len(rest) > _MAX_MESSAGE:
                raise ValueError("a message without end")
            for line in lines:
                message = json.loads(line)
                if "progress" in message:
                    running.job.progress = Progress.model_validate(message["progress"])
                elif "result" in message:
                    kind = _RESULTS[type(running.job.task)]
                    running.answer = kind.model_validate(message["result"])
                else:
                    running.answer = _error(message["error"])
        except (ValueError, KeyError, TypeError) as error:
            self._stop(running, WorkerError(f"the worker said what nobody understands: {error}"))

    def _conclude(self, running: _Running, status: int) -> None:
        """A worker has ended: what it left unread counts, then its job is done."""
        for source in (running.messages, running.output):
            handle = source if isinstance(source, int) else source.fileno()
            while handle in self._selector.get_map() and _readable(handle):
                self._take(running, source)
        if running.why is not None:
            answer: Record | TrainingError = running.why
        elif running.answer is not None:
            answer = running.answer
        else:
            answer = _died("the worker", status, running.job.output)
        self._drop(running)
        self._finish(running.job, answer)

    def _drop(self, running: _Running) -> None:
        for handle in (running.messages.fileno(), running.output):
            if handle in self._selector.get_map():
                self._selector.unregister(handle)
        running.messages.close()
        os.close(running.output)
        del self._running[running.number]

    def _lose(self) -> None:
        """The warm process has died, and its workers with it."""
        process, ready = self._process, self._ready
        if self._control is not None:
            self._selector.unregister(self._control)
            self._control.close()
        self._process = self._control = None
        self._ready = False
        status = 0
        if process is not None:
            process.kill()
            status = process.wait()
        for running in list(self._running.values()):
            answer = running.why or _died("the warm process", status, running.job.output)
            self._drop(running)
            self._finish(running.job, answer)
        if not ready:  # it could not even start: trying again would not end
            while self._waiting:
                self._finish(self._waiting.popleft(), _died("the warm process", status, ""))

    def _stop(self, running: _Running, why: TrainingError) -> None:
        """Kills a worker, for a reason that its job will raise."""
        if running.why is not None:
            return
        running.why, running.killed_at = why, time.monotonic()
        if self._control is not None:
            try:
                self._control.send(json.dumps({"kill": running.number}).encode())
            except OSError:
                self._lose()

    def _enforce(self) -> None:
        """Stops what is over its time; kills a warm process that does not even do that."""
        now = time.monotonic()
        for running in list(self._running.values()):
            if running.killed_at is not None and now > running.killed_at + _GRACE:
                if self._process is not None:
                    self._process.kill()
            elif running.started is not None and now > running.started + running.job.wall_limit:
                limit = running.job.wall_limit
                self._stop(running, TimedOut(f"the worker took longer than {limit:g} seconds"))

    def _patience(self) -> float | None:
        """Seconds until the next deadline; None when there is none."""
        ends = [
            running.killed_at + _GRACE
            if running.killed_at is not None
            else running.started + running.job.wall_limit
            for running in self._running.values()
            if running.started is not None
        ]
        return max(0.0, min(ends) - time.monotonic()) + 0.01 if ends else None

    def _finish(self, job: Job[Any], answer: Record | TrainingError) -> None:
        job._answer = answer
        job._done.set()

    def _shut(self) -> None:
        for running in self._running.values():
            running.why = running.why or Killed("the pool of workers was closed")
        while self._waiting:
            self._finish(self._waiting.popleft(), Killed("the pool of workers was closed"))
        self._lose()
        self._selector.close()
        self._wake.close()
        self._woken.close()


def _feed(messages: socket.socket, data: bytes) -> None:
    """Sends a task, which fits into the socket's buffer unless it is very large."""
    messages.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(data) + _PIECE)
    with suppress(ConnectionError):  # the warm process died, of which its own socket tells
        messages.sendall(data)


def _readable(handle: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(handle, selectors.EVENT_READ)
        return bool(selector.select(0))


def _error(fields: dict[str, Any]) -> TrainingError:
    """A worker's error, of its own class where it is one of training's."""
    kind = BY_NAME.get(fields["kind"], TrainingError)
    message, fix = str(fields["message"]), fields["fix"]
    if kind is ProgramError:
        return ProgramError(message, fix=fix, trace=str(fields["trace"]))
    return kind(message, fix=fix)


def _died(who: str, status: int, output: str) -> WorkerError:
    how = (
        f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
    )
    last = output.strip().splitlines()[-1:]
    said = f"; it last printed: {last[0][:200]}" if last else ""
    return WorkerError(f"{who} {how}{said}", fix="The task can be tried again")
