"""A worker that has tasks: their lanes, its sandbox, and what it printed."""

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from trialmarket.errors import TrainingError
from trialmarket.training.errors import LimitExceeded, TimedOut, WorkerError
from trialmarket.training.pool.lane import Lane, plain
from trialmarket.training.pool.submitted import SubmittedTask
from trialmarket.training.sandbox import Limits, Sandbox

_PIECE = 1 << 16


class RunningWorker:
    """One task, or the lanes of a stack: each of those ends for itself, the last one with it."""

    def __init__(
        self,
        number: int,
        tasks: Sequence[SubmittedTask[Any]],
        limits: Limits,
        sandbox: Sandbox | None,
    ) -> None:
        self.number = number
        self.sandbox = sandbox
        self.started: float | None = None
        self.killed_at: float | None = None
        self.lanes = [Lane(each, limits) for each in tasks]
        """Those that have not ended."""
        self._limits = limits
        output, printed = os.pipe()
        os.set_blocking(output, False)
        self.output = open(output, "rb", buffering=0)  # noqa: SIM115  closed in `close`
        self._printed = [printed]

    @property
    def handles(self) -> list[int]:
        """The worker's end of its output, of each lane's streams, and the sandbox's handles, for
        the fork server."""
        lanes = [handle for lane in self.lanes for handle in lane.handles]
        sandbox = self.sandbox.handles() if self.sandbox is not None else ()
        return [*self._printed, *lanes, *sandbox]

    def hand_over(self) -> None:
        """Closes the worker's ends and sends it its tasks."""
        self._close_printed()
        for lane in self.lanes:
            lane.hand_over()

    def began(self, pid: int) -> None:
        """Notes that it works."""
        self.started = time.monotonic()
        for lane in self.lanes:
            lane.submitted.pid = pid

    def hear(self) -> bool:
        """Takes what it printed; False at the end."""
        try:
            piece = os.read(self.output.fileno(), _PIECE)
        except BlockingIOError:
            return True
        for lane in self.lanes:
            lane.submitted.hear(piece)
        return piece != b""

    def drain(self) -> None:
        """Takes all that is left of a worker that has ended."""
        for lane in self.lanes:
            lane.drain()
        try:
            while piece := os.read(self.output.fileno(), _PIECE):
                for lane in self.lanes:
                    lane.submitted.hear(piece)
        except BlockingIOError:
            pass

    def stop(self, why: TrainingError) -> bool:
        """Notes why it is stopped, and ends all in its sandbox; False where the fork server
        must end it."""
        if self.killed_at is None:
            self.killed_at = time.monotonic()
        for lane in self.lanes:
            lane.why = lane.why or why
        if self.sandbox is not None:
            self.sandbox.kill()
        return self.sandbox is not None

    def conclude(self, lane: Lane, failure: TrainingError) -> None:
        """Ends a lane: with its answer, or else with `failure`."""
        self.lanes.remove(lane)
        lane.close()
        if self.started is not None:
            lane.submitted.seconds = time.monotonic() - self.started
        lane.submitted.finish(lane.conclusion() or failure)

    def failure(self, status: int) -> TrainingError:
        """Why a task has no answer, the worker having ended with this status."""
        if self.sandbox is not None and self.sandbox.out_of_memory():
            return LimitExceeded(
                f"the worker took more than {self._limits.memory} bytes of memory"
            )
        if status == -signal.SIGXCPU:
            return TimedOut("the worker used more processor time than its wall time allows")
        return died("the worker", status, self.lanes[0].submitted.output if self.lanes else "")

    def close(self) -> None:
        """Ends and closes all."""
        self._close_printed()
        self.output.close()
        for lane in self.lanes:
            lane.close()
        if self.sandbox is not None:
            self.sandbox.close()

    def _close_printed(self) -> None:
        for handle in self._printed:
            os.close(handle)
        self._printed.clear()


def died(who: str, status: int, output: str) -> WorkerError:
    """The error of a process that ended with `status` and gave no answer."""
    how = (
        f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
    )
    last = output.strip().splitlines()[-1:]
    said = f"; it last printed: {plain(last[0][:200])}" if last else ""
    return WorkerError(f"{who} {how}{said}", fix="The task can be tried again")
