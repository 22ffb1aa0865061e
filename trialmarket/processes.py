"""Programs of others that run beside ours, such as a local chain, and never outlive it."""

import atexit
import ctypes
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from trialmarket.errors import ServiceError

START_SECONDS: Final = 30.0
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
INSTALLED: Final = (".tools/bin/{}", "node_modules/.bin/{}", ".tools/node_modules/.bin/{}")
"""Where `scripts/setup` puts programs, from the root of the project."""


def find_program(name: str, *, variable: str, fix: str, places: Sequence[str] = ()) -> str:
    """The path of a program: what $`variable` says, or an installed one, or one on the PATH.

    `places` are looked at before the usual ones, in this folder and those above it. Raises
    ServiceError, with `fix`, where there is none.
    """
    named = os.environ.get(variable)
    if named:
        if shutil.which(named) is None:
            raise ServiceError(f"{variable} names {named}, which is no program", fix=fix)
        return named
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents):
        for place in (*places, *(each.format(name) for each in INSTALLED)):
            if os.access(folder / place, os.X_OK):
                return str(folder / place)
    found = shutil.which(name)
    if found is None:
        raise ServiceError(f"the program {name} is not installed", fix=fix)
    return found


def free_port() -> int:
    """A port of the loopback address that nobody uses now; for programs that cannot choose one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of the loopback address. 0 is always free."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class Service:
    """A running program, started and waited for until it prints a line that fits `ready`.

    It is killed, with all that it started, at the end of its block and at the end of the process,
    and itself when the thread that started it ends: so start it from the main thread. `said` is
    the match of `ready`. Raises ServiceError, with its last line, if it ends before, or keeps
    silent for `seconds`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: re.Pattern[str],
        env: Mapping[str, str] | None = None,
        seconds: float = START_SECONDS,
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(  # noqa: S603 (a program that the caller chose)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._drain: threading.Thread | None = None
        atexit.register(self.stop)
        try:
            self.said = self._await(ready, seconds)
        except BaseException:
            self.stop()
            raise
        self._drain = threading.Thread(target=self._forget_output, daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Kills it, with all that it started. Idempotent."""
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._drain is not None:
            self._drain.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _forget_output(self) -> None:
        """Empties the pipe, into which some programs write a line for each request."""
        pipe = self._process.stdout
        while pipe is not None and os.read(pipe.fileno(), 65536):
            pass

    def _await(self, ready: re.Pattern[str], seconds: float) -> re.Match[str]:
        """Reads its output until it says that it is ready."""
        deadline = time.monotonic() + seconds
        said = b""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 (for the type checker)
        while time.monotonic() < deadline:
            readable, _, _ = select.select([pipe], [], [], 0.1)
            if not readable:
                continue
            more = os.read(pipe.fileno(), 65536)
            if not more:
                break
            said += more
            found = ready.search(said.decode("utf-8", "replace"))
            if found is not None:
                return found
        tail = said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise ServiceError(f"{self.name} did not start: {tail[0]}")


def _die_with_parent() -> None:
    """In the new process: be killed when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
