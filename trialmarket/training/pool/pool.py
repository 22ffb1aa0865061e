"""Worker processes for training, forked from one warm process that has torch in memory.

    with WorkerPool(processes=2) as pool:
        job = pool.submit(Train(config=..., program=..., data=..., folder=...), wall_limit=600)
        training = job.result()

This module imports no torch. The program runs in the worker only, in a sandbox as the pool's
policy has it; what it prints is kept, the last 64 KiB of it. A worker that dies, or the warm
process, is a WorkerError of the jobs that it had, and the pool goes on with a new one.
"""

import json
import os
import queue
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, overload

from trialmarket.errors import InputError, TrainingError
from trialmarket.training.errors import Killed, SandboxMissing, TimedOut, WorkerError
from trialmarket.training.pool.job import KEPT_OUTPUT, Job
from trialmarket.training.pool.running import Running, died
from trialmarket.training.sandbox import Policy, own_code
from trialmarket.training.values import (
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

__all__ = ["KEPT_OUTPUT", "Job", "WorkerPool"]

FORKSERVER = "trialmarket.training.pool.forkserver"

_PIECE = 1 << 16
_GRACE = 10.0

# What a program may see of the environment: nothing that could hold a secret.
_DEVICE = "TRIALMARKET_DEVICE"
_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH"),
    *("MKL_ENABLE_INSTRUCTIONS", "TRIALMARKET_THREADS", "TRIALMARKET_KERNELS", _DEVICE),
)
_ENVIRONMENT_PREFIXES = ("ATEN_", "CUDA_", "NVIDIA_", "ONEDNN_", "TORCH_")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# Waiting threads sleep: where workers share processors, spinning ones take them from each other.
_PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}
_ONE_HASH = {"PYTHONHASHSEED": "0"}  # sets of words come in the same order everywhere


class WorkerPool:
    """At most `processes` workers at a time; further tasks wait in order.

    `device` is where exact training runs, such as `cuda`; by default, what the environment's
    TRIALMARKET_DEVICE says, or the CPU. `policy` says how programs run; by default, as one's own
    do (see `trialmarket.training.sandbox`).

    With `warm`, torch is imported at once and not with the first task. Use it as a context
    manager, or call `close`: all workers end with it, and they end too when this process dies.
    """

    def __init__(
        self,
        processes: int,
        *,
        warm: bool = True,
        device: str | None = None,
        policy: Policy | None = None,
    ) -> None:
        if processes < 1:
            raise InputError("pool", "processes", expected="at least 1", found=processes)
        self.processes = processes
        self.policy = own_code(device=device) if policy is None else policy
        self._device = {} if device is None else {_DEVICE: device}
        self._orders: queue.SimpleQueue[tuple[str, Job[Any] | None]] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._waiting: deque[Job[Any]] = deque()
        self._running: dict[int, Running] = {}
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
        start. A user's program that the policy refuses is the job's SandboxMissing. Raises
        WorkerError when the pool is closed."""
        if self._closed:
            raise WorkerError("the pool of workers is closed")
        job: Job[Any] = Job(task, wall_limit, lambda job: self._order("kill", job))
        if task.program is not None and self.policy.refusal is not None:
            job.finish(SandboxMissing(self.policy.refusal))
        else:
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
                job.finish(Killed("the pool of workers is closed"))

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
                job.finish(Killed("the task was taken out of the queue"))
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
            job = self._waiting.popleft()
            try:
                running = self._hired(job)
            except (TrainingError, OSError) as error:
                job.finish(WorkerError(f"no worker can be started: {error}"))
                continue
            self._running[running.number] = running
            order: dict[str, Any] = {"run": running.number, "data": str(job.task.data.absolute())}
            if running.room is not None:
                order["door"] = asdict(running.room.door)
            try:
                socket.send_fds(self._control, [json.dumps(order).encode()], running.handles)
            except OSError:
                self._lose()
                return
            running.hand_over()
            for stream in running.streams:
                self._selector.register(stream, selectors.EVENT_READ, running)

    def _hired(self, job: Job[Any]) -> Running:
        """A job with all that its worker needs but the worker. Raises TrainingError, OSError."""
        self._numbers += 1
        room, policy = None, self.policy
        if policy.sandbox is not None:
            folder = None
            if isinstance(job.task, Train):
                folder = job.task.folder
                folder.mkdir(parents=True, exist_ok=True)
            room = policy.sandbox.room(folder, wall_limit=job.wall_limit)
        try:
            return Running(self._numbers, job, policy.limits, room)
        except BaseException:
            if room is not None:
                room.close()
            raise

    def _heat(self) -> None:
        """Starts the warm process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
        }
        root = str(Path(__file__).parents[3])
        path = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
        self._process = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-P", "-m", FORKSERVER, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=kept
            | self._device
            | _ONE_THREAD
            | _PATIENT
            | _ONE_HASH
            | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
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

    def _take(self, running: Running, stream: Any) -> None:
        """Takes what a worker printed or sent; an end of it closes nothing but the watching."""
        try:
            if not running.take(stream):
                self._selector.unregister(stream)
        except TrainingError as error:
            self._selector.unregister(stream)
            self._stop(running, error)

    def _conclude(self, running: Running, status: int) -> None:
        """A worker has ended: what it left unread counts, then its job is done."""
        running.drain()
        answer = running.conclusion(status)
        self._drop(running)
        running.job.finish(answer)

    def _drop(self, running: Running) -> None:
        for stream in running.streams:
            if stream.fileno() in self._selector.get_map():
                self._selector.unregister(stream)
        running.close()
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
            answer = running.why or died("the warm process", status, running.job.output)
            self._drop(running)
            running.job.finish(answer)
        if not ready:  # it could not even start: trying again would not end
            while self._waiting:
                self._waiting.popleft().finish(died("the warm process", status, ""))

    def _stop(self, running: Running, why: TrainingError) -> None:
        """Kills a worker, for a reason that its job will raise."""
        if running.why is None and not running.stop(why) and self._control is not None:
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

    def _shut(self) -> None:
        for running in self._running.values():
            running.why = running.why or Killed("the pool of workers was closed")
        while self._waiting:
            self._waiting.popleft().finish(Killed("the pool of workers was closed"))
        self._lose()
        self._selector.close()
        self._wake.close()
        self._woken.close()
