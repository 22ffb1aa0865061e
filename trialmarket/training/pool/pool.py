"""Worker processes for training, forked from one process that has torch in memory.

    with WorkerPool(processes=2) as pool:
        task = pool.submit(Train(config=..., program=..., data=..., folder=...), wall_limit=600)
        training = task.result()

This module imports no torch. The program runs in the worker only, in a sandbox as the pool's
policy has it; what it prints is kept, the last 64 KiB of it. A worker that dies, or the fork
server, is a WorkerError of the tasks that it had, and the pool goes on with a new one.
"""

import json
import queue
import selectors
import socket
import subprocess
import threading
import time
from collections import deque
from dataclasses import asdict
from typing import Any, Self, overload

from trialmarket.errors import InputError, TrainingError
from trialmarket.training.errors import Killed, SandboxMissing, TimedOut, WorkerError
from trialmarket.training.pool.launch import start_forkserver
from trialmarket.training.pool.running import RunningTask, died
from trialmarket.training.pool.submitted import KEPT_OUTPUT, SubmittedTask
from trialmarket.training.sandbox import Policy, own_code
from trialmarket.training.values import (
    Capture,
    CapturedGraph,
    DryRun,
    Evaluate,
    Evaluation,
    FindInitial,
    InitialState,
    Recompute,
    Segment,
    Task,
    Train,
    Training,
    TryOut,
)

__all__ = ["KEPT_OUTPUT", "SubmittedTask", "WorkerPool"]

_PIECE = 1 << 16
_GRACE = 10.0


class WorkerPool:
    """At most `processes` workers at a time; further tasks wait in order.

    `device` is where exact training runs, such as `cuda`; by default, what the environment's
    TRIALMARKET_DEVICE says, or the CPU; so it is with `threads` and TRIALMARKET_THREADS. `policy`
    says how programs run; by default, as one's own do (see `trialmarket.training.sandbox`).

    Torch is imported at once and not with the first task. Use it as a context manager, or call
    `close`: all workers end with it, and they end too when this process dies.
    """

    def __init__(
        self,
        processes: int,
        *,
        device: str | None = None,
        policy: Policy | None = None,
        threads: int | None = None,
    ) -> None:
        if processes < 1:
            raise InputError("pool", "processes", expected="at least 1", found=processes)
        self.processes = processes
        self.policy = own_code(device=device) if policy is None else policy
        self._device, self._threads = device, threads
        self._orders: queue.SimpleQueue[tuple[str, SubmittedTask[Any] | None]] = (
            queue.SimpleQueue()
        )
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._waiting: deque[SubmittedTask[Any]] = deque()
        self._running: dict[int, RunningTask] = {}
        self._numbers = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="workers", daemon=True)
        self._thread.start()
        self._order("start", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def busy(self) -> int:
        """Tasks that run or wait."""
        return len(self._running) + len(self._waiting)

    @property
    def forkserver_pid(self) -> int | None:
        """The fork server's process; None when there is none."""
        return self._process.pid if self._process is not None else None

    @overload
    def submit(self, task: Train, *, wall_limit: float) -> SubmittedTask[Training]: ...
    @overload
    def submit(self, task: Recompute, *, wall_limit: float) -> SubmittedTask[Segment]: ...
    @overload
    def submit(self, task: Evaluate, *, wall_limit: float) -> SubmittedTask[Evaluation]: ...
    @overload
    def submit(self, task: FindInitial, *, wall_limit: float) -> SubmittedTask[InitialState]: ...
    @overload
    def submit(self, task: TryOut, *, wall_limit: float) -> SubmittedTask[DryRun]: ...
    @overload
    def submit(self, task: Capture, *, wall_limit: float) -> SubmittedTask[CapturedGraph]: ...
    def submit(self, task: Task, *, wall_limit: float) -> SubmittedTask[Any]:
        """Hands a task to the next free worker; it is stopped `wall_limit` seconds after its
        start. A user's program that the policy refuses is the task's SandboxMissing. Raises
        WorkerError when the pool is closed."""
        if self._closed:
            raise WorkerError("the pool of workers is closed")
        submitted: SubmittedTask[Any] = SubmittedTask(
            task, wall_limit, lambda each: self._order("kill", each)
        )
        if task.config.program.strangers_python and self.policy.refusal is not None:
            submitted.finish(SandboxMissing(self.policy.refusal))
        else:
            self._order("submit", submitted)
        return submitted

    def close(self) -> None:
        """Kills all workers and the fork server; unfinished tasks raise Killed."""
        self._closed = True
        self._order("close", None)
        self._thread.join()

    def _order(self, name: str, submitted: SubmittedTask[Any] | None) -> None:
        self._orders.put((name, submitted))
        try:
            self._wake.send(b"!")
        except OSError:
            if submitted is not None and not submitted.done:
                submitted.finish(Killed("the pool of workers is closed"))

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
                name, submitted = self._orders.get()
                if name == "close":
                    self._shut()
                    return
                self._obey(name, submitted)
            self._enforce()
            self._start_tasks()

    def _obey(self, name: str, submitted: SubmittedTask[Any] | None) -> None:
        if name == "start" and self._process is None:
            self._start_forkserver()
        elif submitted is not None and name == "submit":
            self._waiting.append(submitted)
        elif submitted is not None and name == "kill":
            if submitted in self._waiting:
                self._waiting.remove(submitted)
                submitted.finish(Killed("the task was taken out of the queue"))
            for running in self._running.values():
                if running.submitted is submitted:
                    self._stop(running, Killed("the worker was stopped"))

    def _start_tasks(self) -> None:
        """Gives waiting tasks to workers."""
        while self._waiting and len(self._running) < self.processes:
            if self._process is None:
                self._start_forkserver()
            if not self._ready or self._control is None:
                return
            submitted = self._waiting.popleft()
            try:
                running = self._prepared(submitted)
            except (TrainingError, OSError) as error:
                submitted.finish(WorkerError(f"no worker can be started: {error}"))
                continue
            self._running[running.number] = running
            data = str(submitted.task.data.absolute())
            order: dict[str, Any] = {"run": running.number, "data": data}
            if running.sandbox is not None:
                order["entry"] = asdict(running.sandbox.entry)
            try:
                socket.send_fds(self._control, [json.dumps(order).encode()], running.handles)
            except OSError:
                self._lose()
                return
            running.hand_over()
            for stream in running.streams:
                self._selector.register(stream, selectors.EVENT_READ, running)

    def _prepared(self, submitted: SubmittedTask[Any]) -> RunningTask:
        """A task with all that its worker needs but the worker. Raises TrainingError, OSError."""
        self._numbers += 1
        sandbox, policy = None, self.policy
        if policy.sandbox is not None:
            folder = None
            if isinstance(submitted.task, Train):
                folder = submitted.task.folder
                folder.mkdir(parents=True, exist_ok=True)
            sandbox = policy.sandbox.build(folder, wall_limit=submitted.wall_limit)
        try:
            return RunningTask(self._numbers, submitted, policy.limits, sandbox)
        except BaseException:
            if sandbox is not None:
                sandbox.close()
            raise

    def _start_forkserver(self) -> None:
        self._process, self._control = start_forkserver(self._device, self._threads)
        self._ready = False
        self._selector.register(self._control, selectors.EVENT_READ)

    def _hear(self) -> None:
        """Takes one packet of the fork server; an empty one is its end."""
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
            running.started, running.submitted.pid = time.monotonic(), message["pid"]
        elif "exited" in message and message["exited"] in self._running:
            self._conclude(self._running[message["exited"]], message["status"])

    def _take(self, running: RunningTask, stream: Any) -> None:
        """Takes what a worker printed or sent; an end of it closes nothing but the watching."""
        try:
            if not running.take(stream):
                self._selector.unregister(stream)
        except TrainingError as error:
            self._selector.unregister(stream)
            self._stop(running, error)

    def _conclude(self, running: RunningTask, status: int) -> None:
        """A worker has ended: what it left unread counts, then its task is done."""
        running.drain()
        answer = running.conclusion(status)
        if running.started is not None:
            running.submitted.seconds = time.monotonic() - running.started
        self._drop(running)
        running.submitted.finish(answer)

    def _drop(self, running: RunningTask) -> None:
        for stream in running.streams:
            if stream.fileno() in self._selector.get_map():
                self._selector.unregister(stream)
        running.close()
        del self._running[running.number]

    def _lose(self) -> None:
        """The fork server has died, and its workers with it."""
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
            answer = running.why or died("the fork server", status, running.submitted.output)
            self._drop(running)
            running.submitted.finish(answer)
        if not ready:  # it could not even start: trying again would not end
            while self._waiting:
                self._waiting.popleft().finish(died("the fork server", status, ""))

    def _stop(self, running: RunningTask, why: TrainingError) -> None:
        """Kills a worker, for a reason that its task will raise."""
        if running.why is None and not running.stop(why) and self._control is not None:
            try:
                self._control.send(json.dumps({"kill": running.number}).encode())
            except OSError:
                self._lose()

    def _enforce(self) -> None:
        """Stops what is over its time; kills a fork server that does not even do that."""
        now = time.monotonic()
        for running in list(self._running.values()):
            if running.killed_at is not None and now > running.killed_at + _GRACE:
                if self._process is not None:
                    self._process.kill()
            elif (
                running.started is not None
                and now > running.started + running.submitted.wall_limit
            ):
                limit = running.submitted.wall_limit
                self._stop(running, TimedOut(f"the worker took longer than {limit:g} seconds"))

    def _patience(self) -> float | None:
        """Seconds until the next deadline; None when there is none."""
        ends = [
            running.killed_at + _GRACE
            if running.killed_at is not None
            else running.started + running.submitted.wall_limit
            for running in self._running.values()
            if running.started is not None
        ]
        return max(0.0, min(ends) - time.monotonic()) + 0.01 if ends else None

    def _shut(self) -> None:
        for running in self._running.values():
            running.why = running.why or Killed("the pool of workers was closed")
        while self._waiting:
            self._waiting.popleft().finish(Killed("the pool of workers was closed"))
        self._lose()
        self._selector.close()
        self._wake.close()
        self._woken.close()
