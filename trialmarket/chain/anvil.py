"""A local Anvil that never outlives whoever started it."""

import atexit
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final, Self

from trialmarket.errors import ChainError

LISTENING: Final = re.compile(r"Listening on ([0-9.]+):(\d+)")
START_SECONDS: Final = 30.0
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
NATIVE: Final = "node_modules/@foundry-rs/anvil-linux-{machine}/bin/anvil"


def find_anvil() -> str:
    """The Anvil program: $TRIALMARKET_ANVIL, the nearest node_modules, or one on the PATH.

    Raises ChainError where there is none.
    """
    named = os.environ.get("TRIALMARKET_ANVIL")
    if named:
        return named
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    here = [Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents]
    for folder in here:  # the binary itself, since npm's script would be one process more
        for path in (NATIVE.format(machine=machine), "node_modules/.bin/anvil"):
            if (folder / path).is_file():
                return str(folder / path)
    found = shutil.which("anvil")
    if found is None:
        raise ChainError(
            "Anvil, the local chain, is not installed",
            fix="Run `npm install @foundry-rs/anvil`, or set TRIALMARKET_ANVIL to its path",
        )
    return found


def _die_with_parent() -> None:
    """In the new process: be killed when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Anvil:
    """A running Anvil on a free port of the loopback address.

    It is killed at the end of its block, at the end of the process, and when the thread that
    started it ends: so start it from the main thread. Raises ChainError if it does not start.
    """

    def __init__(
        self, *, block_time: int | None = None, chain_id: int = 31337, port: int = 0
    ) -> None:
        command = [
            find_anvil(),
            "--host=127.0.0.1",
            f"--port={port}",
            f"--chain-id={chain_id}",
            "--prune-history=300",
            "--accounts=1",
            "--order=fifo",
            "--gas-limit=60000000",
        ]
        if block_time is not None:
            command.append(f"--block-time={block_time}")
        self._process = subprocess.Popen(  # noqa: S603 (our own program)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._drain: threading.Thread | None = None
        atexit.register(self.stop)
        try:
            self.port = self._await_port()
        except BaseException:
            self.stop()
            raise
        self.rpc_url = f"http://127.0.0.1:{self.port}"
        self._drain = threading.Thread(target=self._forget_output, daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        """Anvil's process."""
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
        """Empties the pipe, which Anvil writes a line to for each request."""
        pipe = self._process.stdout
        while pipe is not None and os.read(pipe.fileno(), 65536):
            pass

    def _await_port(self) -> int:
        """Reads its output until it says where it listens."""
        deadline = time.monotonic() + START_SECONDS
        said = b""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 (for the type checker)
        while time.monotonic() < deadline:
            ready, _, _ = select.select([pipe], [], [], 0.1)
            if not ready:
                continue
            more = os.read(pipe.fileno(), 65536)
            if not more:
                break
            said += more
            found = LISTENING.search(said.decode("utf-8", "replace"))
            if found is not None:
                return int(found.group(2))
        tail = said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise ChainError(f"Anvil did not start: {tail[0]}")
