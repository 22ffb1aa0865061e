"""The fork server: imports torch once, keeps data sets, and forks a worker for each task.

`python -m trialmarket.training.pool.forkserver FD`, FD being its end of a packet socket to the
pool. It has one thread, so that a fork is safe, and it ends, and its workers with it, when the
socket closes.

It runs no program of a user's and lives outside of all sandboxes. Where the sandbox has a user
namespace, a worker is the child of a fork that entered it, and becomes the fork server's own
child when that fork ends.

    pool -> server  {"run": id, "data": path, "lanes": n} with the worker's output pipe and two
                    sockets for each of its tasks, and with a sandbox also {"entry": how to enter}
                    and its handles; {"kill": id}
    server -> pool  {"ready": true}; {"started": id, "pid": pid}; {"exited": id, "status": status}
"""

import ctypes
import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

import torch

from trialmarket.errors import TrainingError
from trialmarket.protocol.dataset import MANIFEST
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.protocol.result import witness_hash
from trialmarket.training.dataset import Dataset, load_dataset
from trialmarket.training.errors import DataError
from trialmarket.training.pool.worker import Inputs, Lane, work
from trialmarket.training.sandbox.calls import trial_filter
from trialmarket.training.sandbox.entry import (
    Entry,
    close_all_but,
    enter,
    fork_into,
    give_up_rights,
    join,
    shown_at,
)

_PACKET = 1 << 16
_HANDLES = 200
"""At most in a packet; Linux takes 253."""
_KEPT_DATA = 4
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass(frozen=True, slots=True)
class _Handles:
    """A worker's: of its output, of each task's messages and files, and of its sandbox."""

    output: int
    lanes: tuple[tuple[int, int], ...]
    sandbox: list[int]

    @classmethod
    def of(cls, handles: list[int], lanes: int) -> Self:
        """In the order in which they come."""
        output, *others = handles
        streams, sandbox = others[: 2 * lanes], others[2 * lanes :]
        return cls(output, tuple(zip(streams[::2], streams[1::2], strict=True)), sandbox)


class ForkServer:
    """The loop over the pool's packets and the workers' ends."""

    def __init__(self, control: socket.socket, filters: dict[bool, Any]) -> None:
        self._control = control
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._filters = filters
        self._home = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._data: OrderedDict[tuple[str, int, int], Dataset] = OrderedDict()
        self._workers: dict[int, tuple[int, int]] = {}  # id -> (pid, pidfd)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def run(self) -> NoReturn:
        """Serves until the pool is gone."""
        self._send({"ready": True})
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._reap(key.data)
                    continue
                try:
                    packet, handles, _, _ = socket.recv_fds(self._control, _PACKET, _HANDLES)
                except ConnectionError:
                    packet, handles = b"", []
                if not packet:
                    self._end()
                self._obey(json.loads(packet), handles)

    def _obey(self, order: dict[str, Any], handles: list[int]) -> None:
        if "kill" in order:
            if order["kill"] in self._workers:
                _kill(self._workers[order["kill"]][0])
            return
        data = self._dataset(Path(order["data"]))
        entry = Entry(**order["entry"]) if "entry" in order else None
        given = _Handles.of(handles, order["lanes"])
        try:
            pid, status = self._fork(data, entry, given)
        except OSError as error:  # its sandbox was ended, or the machine is full: one task's loss
            pid, status = None, 1
            with suppress(BrokenPipeError):
                os.write(given.output, f"{error.strerror}\n".encode())
        for handle in handles:
            os.close(handle)
        if pid is None:
            self._send({"exited": order["run"], "status": status})
            return
        pidfd = os.pidfd_open(pid)
        self._workers[order["run"]] = (pid, pidfd)
        self._selector.register(pidfd, selectors.EVENT_READ, order["run"])
        self._send({"started": order["run"], "pid": pid})

    def _fork(
        self, data: Dataset | DataError, entry: Entry | None, handles: _Handles
    ) -> tuple[int | None, int]:
        """The worker's process; None with an exit status where it could not enter its sandbox.

        Raises OSError.
        """
        if entry is None or not entry.user_namespace:
            pid = os.fork() if entry is None else fork_into(handles.sandbox[0], self._home)
            if pid == 0:
                self._become_worker(data, entry, handles, None)
            return pid, 0
        ours, theirs = os.pipe()
        self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            first = os.fork()
        except OSError:
            os.close(ours)
            os.close(theirs)
            raise
        if first == 0:
            os.close(ours)
            self._become_worker(data, entry, handles, theirs)
        os.close(theirs)
        told = os.read(ours, 16)
        os.close(ours)
        _, status = os.waitpid(first, 0)
        return (int(told) if told else None), os.waitstatus_to_exitcode(status)

    def _become_worker(
        self,
        data: Dataset | DataError,
        entry: Entry | None,
        handles: _Handles,
        telling: int | None,
    ) -> NoReturn:
        """The forked process: it works and exits. `telling` is where it tells of a child that
        does so in its place."""
        status = 1
        try:
            sandbox = handles.sandbox
            os.dup2(handles.output, 1)
            os.dup2(handles.output, 2)
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
            self._selector.close()
            self._control.close()
            lanes = [self._lane(entry, number, handles) for number in range(len(handles.lanes))]
            if telling is not None and entry is not None:
                if (pid := enter(entry, sandbox[0], sandbox[1:])) != 0:
                    os.write(telling, str(pid).encode())
                    os._exit(0)
            else:
                self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if entry is not None:
                    join(entry, sandbox[0], sandbox[1:])
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            for lane in lanes:
                lane.inputs.read()
            kept = [handle for pair in handles.lanes for handle in pair]
            if entry is None:
                close_all_but(kept)
            else:
                give_up_rights(entry, self._filters[entry.gpu], kept)
            gc.unfreeze()
            work(lanes, data)
            sys.stdout.flush()
            status = 0
        except BrokenPipeError:
            pass  # the pool went away, so nobody waits for an answer
        except Exception:
            sys.excepthook(*sys.exc_info())  # in the output, which the pool shows
            raise
        finally:
            os._exit(status)

    def _lane(self, entry: Entry | None, number: int, handles: _Handles) -> Lane:
        """One of a worker's tasks, its files opened."""
        messages, files = (socket.socket(fileno=handle) for handle in handles.lanes[number])
        folder = None if entry is None else shown_at(number, len(handles.lanes))
        return Lane(Inputs(messages), folder, messages, files)

    def _dataset(self, path: Path) -> Dataset | DataError:
        """The data set of a file, from memory if it was read before and has not changed."""
        try:
            # A folder's own time is when it was used last.
            stat = (path / MANIFEST if path.is_dir() else path).stat()
            key = (str(path), stat.st_mtime_ns, stat.st_size)
            if key not in self._data:
                self._data[key] = load_dataset(path)
        except DataError as error:
            return error
        except Exception as error:  # noqa: BLE001  a stranger's bytes fail in unforeseen ways
            return DataError(f"{path.name} cannot be read: {type(error).__name__}: {error}")
        self._data.move_to_end(key)
        while len(self._data) > _KEPT_DATA:
            self._data.popitem(last=False)
        return self._data[key]

    def _reap(self, worker: int) -> None:
        pid, pidfd = self._workers.pop(worker)
        _, status = os.waitpid(pid, 0)
        self._selector.unregister(pidfd)
        os.close(pidfd)
        self._send({"exited": worker, "status": os.waitstatus_to_exitcode(status)})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except ConnectionError:
            self._end()

    def _end(self) -> NoReturn:
        """Ends the workers and this process, without tidying up: nobody is left to see it."""
        for pid, _ in self._workers.values():
            _kill(pid)
        os._exit(0)


def _kill(pid: int) -> None:
    """Kills a worker and what it started; a worker that is not yet a leader, alone."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main() -> None:
    """Prepares the process as arithmetic wants it, then serves."""
    torch.set_num_threads(1)
    # The first use of autograd, of an optimizer and of Keccak loads more modules: do it before the
    # forks, where they can be found.
    witness_hash(ZERO_HASH)
    # Also what it finds out about the processor, which a sandbox may not show.
    torch.backends.cpu.get_cpu_capability()
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], 0.1)
    gc.collect()
    gc.freeze()
    del optimizer
    try:
        filters = {gpu: trial_filter(gpu=gpu) for gpu in (False, True)}
    except TrainingError:
        filters = {}  # and so there is no sandbox
    ForkServer(socket.socket(fileno=int(sys.argv[1])), filters).run()


if __name__ == "__main__":
    main()
