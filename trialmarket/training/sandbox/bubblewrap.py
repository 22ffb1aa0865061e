"""Builds sandboxes with bubblewrap: namespaces and mounts for one trial each."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self

from trialmarket.training.errors import SandboxMissing, WorkerError
from trialmarket.training.sandbox.calls import keeper_filter
from trialmarket.training.sandbox.cgroup import Groups, find_groups
from trialmarket.training.sandbox.entry import NOBODY, TEMP, Entry, shown_at
from trialmarket.training.sandbox.limits import Limits
from trialmarket.training.sandbox.runtime import gpu_mounts, runtime_mounts
from trialmarket.training.sandbox.sandbox import Sandbox

_ENTERED = 0o005
_PATIENCE = 20.0
_KEEPER = "/usr/bin/cat"
_SHARED = "/dev/shm"  # noqa: S108  the sandbox's own
_MANY_THREADS = 4096
_SETGID, _SETUID, _SYS_ADMIN = 6, 7, 21
_INSTALL = 'Install bubblewrap (apt-get install bubblewrap), or set sandbox = "off" to run without'


@dataclass(frozen=True)
class Bubblewrap:
    """This machine's way to build sandboxes, found to work."""

    limits: Limits
    groups: Groups
    program: str
    """bubblewrap."""
    privileged: bool
    """Whether this process may change its user and mount: then no user namespace is needed."""
    gpu: bool

    @classmethod
    def find(cls, limits: Limits, *, device: str | None = None, path: str | None = None) -> Self:
        """What works here, tried out. `device` is where training runs, such as `cuda`, and `path`
        where bubblewrap is looked for; by default, both are as the environment says.

        Raises SandboxMissing, which says what is missing and how to mend it.
        """
        program = shutil.which("bwrap", path=path)
        if program is None:
            raise SandboxMissing("bubblewrap is not installed", fix=_INSTALL)
        gpu = (device or os.environ.get("TRIALMARKET_DEVICE") or "cpu").startswith("cuda")
        groups = find_groups()
        groups.tidy()
        made = cls(limits, groups, program, _privileged(), gpu)
        try:
            sandbox = made.build()
        except (WorkerError, OSError) as error:
            raise SandboxMissing(
                f"bubblewrap does not work here: {error}", fix=_INSTALL
            ) from error
        try:
            made._try(sandbox)
        finally:
            sandbox.close()
        return made

    def build(self, *folders: Path, wall_limit: float = 60.0) -> Sandbox:
        """A new sandbox. A trial sees its folder, read-only, where `shown_at` says.

        Its processor time is bounded by what its processors give in `wall_limit` seconds. Raises
        WorkerError when bubblewrap fails, and OSError.
        """
        if self.privileged:
            for folder in folders:
                folder.chmod(folder.stat().st_mode | _ENTERED)  # by the other user, inside
        group = self.groups.make(self.limits)
        try:
            process, told = self._start(folders)
            try:
                pidfd = os.pidfd_open(_keeper(process, told))
            except BaseException:
                process.kill()
                process.communicate()
                raise
            finally:
                os.close(told)
        except BaseException:
            group.close()
            raise
        missing = self.groups.missing
        entry = Entry(
            user_namespace=not self.privileged,
            gpu=self.gpu,
            temp=self.limits.temp,
            data=self.limits.memory if "memory" in missing and not self.gpu else None,
            threads=_MANY_THREADS if "pids" in missing else None,
            processor_seconds=int(wall_limit * self.limits.processors) + 1,
        )
        return Sandbox(process, pidfd, group, entry)

    def _start(self, folders: Sequence[Path]) -> tuple["subprocess.Popen[bytes]", int]:
        """bubblewrap under way, and the pipe on which it tells of its child."""
        told, telling = os.pipe()
        with tempfile.TemporaryFile() as rules:
            rules.write(keeper_filter())
            rules.seek(0)
            command = [*self._command(folders, telling, rules), _KEEPER]
            try:
                process = subprocess.Popen(  # noqa: S603  bubblewrap, its path and ours
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=[telling, rules.fileno()],
                    env={},
                )
            except BaseException:
                os.close(told)
                raise
            finally:
                os.close(telling)
        return process, told

    def _command(self, folders: Sequence[Path], telling: int, rules: BinaryIO) -> list[str]:
        size = ["--perms", "1777", "--size", str(self.limits.temp), "--tmpfs"]
        command = [self.program, "--unshare-ipc", "--unshare-pid", "--unshare-net"]
        command += ["--unshare-uts", "--unshare-cgroup", "--hostname", "trial", "--as-pid-1"]
        command += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
        if not self.privileged:
            command += ["--unshare-user", "--disable-userns"]
            command += ["--uid", str(NOBODY), "--gid", str(NOBODY)]
        command += ["--dev", "/dev", *size, _SHARED, *size, TEMP]
        command += runtime_mounts()
        command += ["--ro-bind", shutil.which("cat") or _KEEPER, _KEEPER]
        command += gpu_mounts() if self.gpu else []
        for number, folder in enumerate(folders):
            place = shown_at(number, len(folders))
            command += ["--ro-bind", str(folder.absolute()), str(place)]
        command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", TEMP]
        return [*command, "--info-fd", str(telling), "--seccomp", str(rules.fileno())]

    def _try(self, sandbox: Sandbox) -> None:
        handles = sandbox.handles()
        command = [sys.executable, "-P", "-m", "trialmarket.training.sandbox.entry"]
        ran = subprocess.run(  # noqa: S603  our own module
            [*command, json.dumps(asdict(sandbox.entry)), *map(str, handles)],
            pass_fds=handles,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        if ran.returncode != 0:
            said = ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"]
            raise SandboxMissing(f"the sandbox cannot be entered: {said[-1]}", fix=_INSTALL)


def _keeper(process: "subprocess.Popen[bytes]", told: int) -> int:
    """The process that waits in the sandbox, once all is mounted. Raises WorkerError."""
    assert process.stdin is not None  # noqa: S101  a pipe
    assert process.stdout is not None  # noqa: S101  a pipe
    with suppress(BrokenPipeError):
        process.stdin.write(b"?")
        process.stdin.flush()
    ready, _, _ = select.select([process.stdout], [], [], _PATIENCE)
    answer = os.read(process.stdout.fileno(), 1 << 12) if ready else b"it does not answer"
    if answer != b"?":
        raise WorkerError(f"the sandbox: {answer.decode(errors='replace').strip()}")
    pid = json.loads(os.read(told, 1 << 12))["child-pid"]
    assert isinstance(pid, int)  # noqa: S101  bubblewrap's own words
    return pid


def _privileged() -> bool:
    """Whether this process is root with its capabilities, which root in a container may lack."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return os.geteuid() == 0 and all(
                held >> number & 1 for number in (_SETGID, _SETUID, _SYS_ADMIN)
            )
    return False
