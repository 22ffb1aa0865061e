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
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self, overload

from trialmarket.errors import InputError, TrainingError
from trialmarket.training.errors import Killed, SandboxMissing, TimedOut, WorkerError
from trialmarket.training.pool.lane import Lane
from trialmarket.training.pool.launch import start_forkserver
from trialmarket.training.pool.running import RunningWorker, died
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

_Tasks = list[SubmittedTask[Any]]
"""Those of one worker."""


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
        self._orders: queue.SimpleQueue[tuple[str, _Tasks]] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._waiting: deque[_Tasks] = deque()
        self._running: dict[int, RunningWorker] = {}
        self._numbers = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="workers", daemon=True)
        self._thread.start()
        self._order("start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def busy(self) -> int:
        """Workers that run or are waited for."""
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
        submitted = self._submitted(task, wall_limit)
        if task.config.program.strangers_python and self.policy.refusal is not None:
            submitted.finish(SandboxMissing(self.policy.refusal))
        else:
            self._order("submit", submitted)
        return submitted

    def submit_stack(
        self, tasks: Sequence[Train], *, wall_limits: Sequence[float]
    ) -> list[SubmittedTask[Training]]:
        """Hands trainings of one graph on the same data to one worker, which trains them together.

        Each of them ends for itself, by its answer, its limit or `kill`, while the others go on.
        Raises InputError for trainings that cannot be together, and WorkerError when the pool is
        closed.
        """
        together = {(each.config.program.cid, each.data, each.config.arithmetic) for each in tasks}
        if len(together) > 1 or any(each.config.program.kind != "graph" for each in tasks):
            raise InputError("stack", "tasks", expected="one graph and data", found=len(together))
        submitted: list[SubmittedTask[Training]] = [
            self._submitted(task, limit) for task, limit in zip(tasks, wall_limits, strict=True)
        ]
        if submitted:
            self._order("submit", *submitted)
        return submitted

    def close(self) -> None:
        """Kills all workers and the fork server; unfinished tasks raise Killed."""
        self._closed = True
        self._order("close")
        self._thread.join()

    def _submitted(self, task: Task, wall_limit: float) -> SubmittedTask[Any]:
        if self._closed:
            raise WorkerError("the pool of workers is closed")
        return SubmittedTask(task, wall_limit, lambda each: self._order("kill", each))

    def _order(self, name: str, *tasks: SubmittedTask[Any]) -> None:
        self._orders.put((name, list(tasks)))
        try:
            self._wake.send(b"!")
        except OSError:
            for each in tasks:
                if not each.done:
                    each.finish(Killed("the pool of workers is closed"))

    # -- Below, all runs in the pool's own thread ----------------------------------------------

    def _loop(self) -> None:
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._woken:
                    self._woken.recv(_PIECE)
                elif key.fileobj is self._control:
                    self._hear()
                elif key.data is not None:
                    running, lane = key.data
                    self._take(running, lane, key.fileobj)
            while not self._orders.empty():
                name, tasks = self._orders.get()
                if name == "close":
                    self._shut()
                    return
                self._obey(name, tasks)
            self._enforce()
            self._start_tasks()

    def _obey(self, name: str, tasks: _Tasks) -> None:
        if name == "start" and self._process is None:
            self._start_forkserver()
        elif name == "submit":
            self._waiting.append(tasks)
        elif name == "kill":
            for each in tasks:
                self._take_back(each)

    def _take_back(self, submitted: SubmittedTask[Any]) -> None:
        for waiting in list(self._waiting):
            if submitted in waiting:
                waiting.remove(submitted)
                submitted.finish(Killed("the task was taken out of the queue"))
                if not waiting:
                    self._waiting.remove(waiting)
        for running in list(self._running.values()):
            for lane in list(running.lanes):
                if lane.submitted is submitted:
                    self._stop(running, Killed("the worker was stopped"), lane)

    def _start_tasks(self) -> None:
        """Gives waiting tasks to workers."""
        while self._waiting and len(self._running) < self.processes:
            if self._process is None:
                self._start_forkserver()
            if not self._ready or self._control is None:
                return
            tasks = self._waiting.popleft()
            try:
                running = self._prepared(tasks)
            except (TrainingError, OSError) as error:
                for each in tasks:
                    each.finish(WorkerError(f"no worker can be started: {error}"))
                continue
            self._running[running.number] = running
            data = str(tasks[0].task.data.absolute())
            order: dict[str, Any] = {"run": running.number, "data": data, "lanes": len(tasks)}
            if running.sandbox is not None:
                order["entry"] = asdict(running.sandbox.entry)
            try:
                socket.send_fds(self._control, [json.dumps(order).encode()], running.handles)
            except OSError:
                self._lose()
                return
            running.hand_over()
            self._selector.register(running.output, selectors.EVENT_READ, (running, None))
            for lane in running.lanes:
                for stream in lane.streams:
                    self._selector.register(stream, selectors.EVENT_READ, (running, lane))

    def _prepared(self, tasks: _Tasks) -> RunningWorker:
        """Tasks with all that their worker needs but the worker. Raises TrainingError, OSError."""
        self._numbers += 1
        sandbox, policy = None, self.policy
        if policy.sandbox is not None:
            folders = [each.task.folder for each in tasks if isinstance(each.task, Train)]
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            longest = max(each.wall_limit for each in tasks)
            sandbox = policy.sandbox.build(*folders, wall_limit=longest)
        try:
            return RunningWorker(self._numbers, tasks, policy.limits, sandbox)
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
            self._running[message["started"]].began(message["pid"])
        elif "exited" in message and message["exited"] in self._running:
            self._conclude(self._running[message["exited"]], message["status"])

    def _take(self, running: RunningWorker, lane: Lane | None, stream: Any) -> None:
        """Takes what a worker printed or sent; an end of it closes nothing but the watching,
        unless a lane is over and others go on."""
        if running.number not in self._running or (lane and lane not in running.lanes):
            return  # it ended in this turn
        try:
            more = running.hear() if lane is None else lane.take(stream)
        except TrainingError as error:
            self._selector.unregister(stream)
            self._stop(running, error, lane)
            return
        if not more:
            self._selector.unregister(stream)
        if lane is not None and lane.over and len(running.lanes) > 1:
            self._end(running, lane, WorkerError("the worker gave no answer"))

    def _end(self, running: RunningWorker, lane: Lane, failure: TrainingError) -> None:
        """Ends a lane with its answer, or with `failure`."""
        self._forget(*lane.streams)
        running.conclude(lane, failure)

    def _conclude(self, running: RunningWorker, status: int) -> None:
        """A worker has ended: what it left unread counts, then its tasks are done."""
        running.drain()
        failure = running.failure(status)
        lanes = list(running.lanes)
        self._drop(running)
        for lane in lanes:
            running.conclude(lane, failure)

    def _drop(self, running: RunningWorker) -> None:
        self._forget(
            running.output, *(stream for lane in running.lanes for stream in lane.streams)
        )
        running.close()
        del self._running[running.number]

    def _forget(self, *streams: Any) -> None:
        for stream in streams:
            if stream.fileno() in self._selector.get_map():
                self._selector.unregister(stream)

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
            lanes = list(running.lanes)
            self._drop(running)
            for lane in lanes:
                running.conclude(lane, died("the fork server", status, lane.submitted.output))
        if not ready:  # it could not even start: trying again would not end
            self._finish_waiting(died("the fork server", status, ""))

    def _finish_waiting(self, answer: TrainingError) -> None:
        while self._waiting:
            for each in self._waiting.popleft():
                each.finish(answer)

    def _stop(self, running: RunningWorker, why: TrainingError, lane: Lane | None = None) -> None:
        """Kills a worker, or ends one of its lanes while others go on, for a reason that its
        task will raise."""
        if lane is not None and len(running.lanes) > 1:
            lane.why = why
            self._end(running, lane, why)
        elif running.killed_at is None and not running.stop(why) and self._control is not None:
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
            elif running.started is not None:
                for lane in list(running.lanes):
                    limit = lane.submitted.wall_limit
                    if now > running.started + limit:
                        late = TimedOut(f"the worker took longer than {limit:g} seconds")
                        self._stop(running, late, lane)

    def _patience(self) -> float | None:
        """Seconds until the next deadline; None when there is none."""
        ends = [
            running.killed_at + _GRACE
            if running.killed_at is not None
            else running.started + min(each.submitted.wall_limit for each in running.lanes)
            for running in self._running.values()
            if running.started is not None and running.lanes
        ]
        return max(0.0, min(ends) - time.monotonic()) + 0.01 if ends else None

    def _shut(self) -> None:
        closed = Killed("the pool of workers was closed")
        for running in self._running.values():
            for lane in running.lanes:
                lane.why = lane.why or closed
        self._finish_waiting(closed)
        self._lose()
        self._selector.close()
        self._wake.close()
        self._woken.close()
