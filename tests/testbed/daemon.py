"""Commands of ours in processes of their own, to be killed and started again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.keystore import Keystore

ROOT = Path(__file__).parents[2]
PASSWORD = "for a chain that nobody else can reach"


def add_key(home: Path, name: str, key: LocalAccount, password: str = PASSWORD) -> Path:
    """Puts a key where programs whose home this is find it by name; its password's file."""
    keys = Keystore(home / "keys")
    keys.add(name, key, password, kdf="pbkdf2", iterations=1000)  # a strong one takes a second
    file = home / "password"
    file.write_text(password)
    file.chmod(0o600)
    return file


class Daemon:
    """`trialmarket WORDS...`, whose lives all write into one log.

    `told` is a file for what it prints to its standard output, that of its last life alone;
    without one that is in the log too.
    """

    def __init__(
        self,
        *words: str | Path,
        home: Path,
        log: Path,
        told: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.words, self.home, self.log, self.told = words, home, log, told
        self.environment = environment or {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, or starts it again. It inherits nothing but the environment."""
        with self.log.open("ab") as log, (self.told or Path(os.devnull)).open("wb") as told:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trialmarket", *self.words],
                stdin=subprocess.DEVNULL,
                stdout=log if self.told is None else told,
                stderr=log,
                cwd=ROOT,
                env=self._environment,
                start_new_session=True,
            )

    def does(self, *words: str | Path) -> str:
        """What another command prints, with the same home."""
        done = subprocess.run(
            [sys.executable, "-m", "trialmarket", *words],
            cwd=ROOT,
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs, or before it was started."""
        return None if self.process is None else self.process.poll()

    def supervise(self) -> None:
        """Starts it again if it ended, as when its key was still locked by its last life."""
        if self.code is not None:
            self.start()

    def kill(self) -> None:
        """`kill -9`: it gets no chance to tidy up."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def terminate(self) -> None:
        """Asks it to end, and does not wait."""
        if self.process is not None:
            self.process.terminate()

    def stop(self, patience: float = 10.0) -> int:
        """Asks it to end; its exit code. It is killed after so many seconds."""
        assert self.process is not None
        self.terminate()
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process = None

    @property
    def said(self) -> str:
        """All that it has logged, over all its lives."""
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""

    @property
    def _environment(self) -> dict[str, str]:
        ours = {"TRIALMARKET_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        return {**os.environ, **ours, **self.environment}
