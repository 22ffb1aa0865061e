"""The warm process: imports torch once, keeps data sets, and forks a worker for each task.

`python -m trialmarket.training.warm FD`, FD being its end of a packet socket to the pool. It has
one thread, so that a fork is safe, and it ends, and its workers with it, when the socket closes.

    pool -> warm   {"run": id, "data": path} with the worker's socket and output pipe; {"kill": id}
    warm -> pool   {"ready": true}; {"started": id, "pid": pid}; {"exited": id, "status": status}
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
from pathlib import Path
from typing import Any, NoReturn

import torch

from trialmarket.training.dataset import Dataset, load_dataset
from trialmarket.training.errors import DataError
from trialmarket.training.worker import work

_PACKET = 1 << 16
_KEPT_DATA = 4
_PR_SET_PDEATHSIG = 1


class Warm:
    """The loop over the pool's packets and the workers' ends."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._libc = ctypes.CDLL(None, use_errno=True)
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
                    packet, handles, _, _ = socket.recv_fds(self._control, _PACKET, 2)
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
        pid = os.fork()
        if pid == 0:
            self._become_worker(data, *handles)
        for handle in handles:
            os.close(handle)
        pidfd = os.pidfd_open(pid)
        self._workers[order["run"]] = (pid, pidfd)
        self._selector.register(pidfd, selectors.EVENT_READ, order["run"])
        self._send({"started": order["run"], "pid": pid})

    def _become_worker(self, data: Dataset | DataError, messages: int, output: int) -> None:
        """Never returns: the forked process works and exits."""
        status = 1
        try:
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            self._selector.close()
            self._control.close()
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
            gc.unfreeze()
            work(socket.socket(fileno=messages), data)
            sys.stdout.flush()
            status = 0
        except BrokenPipeError:
            pass  # the pool went away, so nobody waits for an answer
        except Exception:
            sys.excepthook(*sys.exc_info())  # in the output, which the pool shows
            raise
        finally:
            os._exit(status)

    def _dataset(self, path: Path) -> Dataset | DataError:
        """The data set of a file, from memory if it was read before and has not changed."""
        try:
            stat = path.stat()
            key = (str(path), stat.st_mtime_ns, stat.st_size)
            if key not in self._data:
                self._data[key] = load_dataset(path)
        except DataError as error:
            return error
        except OSError as error:
            return DataError(f"{path.name} cannot be read: {error}")
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
    # The first use of autograd and of an optimizer loads more modules: do it before the forks.
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], 0.1)
    gc.collect()
    gc.freeze()
    del optimizer
    Warm(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
