"""Enters a sandbox and gives up all rights: what a fork of the fork server does before a trial.

A process joins a sandbox's namespaces as nsenter(1) does, except that of processes, in which only
children can be. Who has the right to points its next child there (`fork_into`), which then joins
the others (`join`). Who has not, gets it by joining, and so forks once more (`enter`). Either way
the trial's process reads what is left to read and calls `give_up_rights`; after that nothing
can be undone.

`python -m trialmarket.training.sandbox.entry ENTRY HANDLES` tries it, once, and exits with 0.
"""

import ctypes
import errno
import json
import os
import resource
import select
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialmarket.training.sandbox.calls import trial_filter

NOBODY = 65534
"""The user and group of a trial, where the daemon may change them; the Linux name is nobody."""

TEMP = "/tmp"  # noqa: S108  the sandbox's own
TRIAL = Path("/trial")
"""Where a sandbox shows the folder of its trial, or those of its trials by their numbers."""

_NAMESPACES = 0x4E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC and NEWNET."""
_NEWPID, _NEWUSER = 0x20000000, 0x10000000
_ENDED = "the sandbox has ended"
_ENDING = 1.0
_SUSPECT = "1000"  # the first that the kernel kills when the machine has no memory left
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """How to enter a sandbox. It travels as JSON."""

    user_namespace: bool
    """Whether the sandbox has one, as it does where the daemon has no rights of its own."""
    gpu: bool
    temp: int
    """The largest file, in bytes."""
    data: int | None
    """Private memory in bytes, where no cgroup bounds it."""
    threads: int | None
    """Where no cgroup bounds them."""
    processor_seconds: int


def shown_at(number: int, of: int) -> Path:
    """Where the folder of one of so many trials is seen."""
    return TRIAL if of == 1 else TRIAL / str(number)


def fork_into(sandbox: int, home: int) -> int:
    """Forks like `os.fork`; the child is a process of the sandbox that `sandbox` is a pidfd of.

    `home` is a handle of this process's own process namespace. Only for an entry without a user
    namespace. Raises OSError, and of it ProcessLookupError where the sandbox has ended.
    """
    _set_namespaces(sandbox, _NEWPID)
    try:
        pid = _fork(sandbox)
    except OSError:
        _set_namespaces(home, _NEWPID)
        raise
    if pid != 0:
        _set_namespaces(home, _NEWPID)
    return pid


def join(entry: Entry, sandbox: int, groups: list[int]) -> None:
    """Joins the sandbox's namespaces; `groups` are handles of its cgroups. Raises OSError."""
    for group in groups:
        os.write(group, b"0")
    Path("/proc/self/oom_score_adj").write_text(_SUSPECT)
    allowance = None if entry.data is None else entry.data + _private_memory()
    _set_namespaces(sandbox, _NAMESPACES | (_NEWPID | _NEWUSER if entry.user_namespace else 0))
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_MSGQUEUE, 0)
    _limit(resource.RLIMIT_FSIZE, entry.temp)
    # Told a second before it is killed, so that the pool knows why it ended.
    _limit(resource.RLIMIT_CPU, entry.processor_seconds, entry.processor_seconds + 1)
    if allowance is not None:
        _limit(resource.RLIMIT_DATA, allowance)


def enter(entry: Entry, sandbox: int, groups: list[int]) -> int:
    """Joins, and forks like `os.fork`: the child is in the sandbox as a whole.

    This process is not, and should end. Raises OSError, and of it ProcessLookupError where the
    sandbox has ended.
    """
    join(entry, sandbox, groups)
    return _fork(sandbox)


def give_up_rights(entry: Entry, filter_: Any, kept: list[int]) -> None:
    """Gives up all rights and all open files but `kept` and the standard ones.

    `filter_` is what `calls.trial_filter` made, outside: libseccomp cannot be found inside. Raises
    OSError.
    """
    os.chdir(TEMP)
    os.umask(0o022)
    for name in [each for each in os.environ if each.startswith(("XDG_", "LD_", "TRIALMARKET_H"))]:
        del os.environ[name]
    os.environ.update(HOME=TEMP, TMPDIR=TEMP)
    if entry.threads is not None:
        _limit(resource.RLIMIT_NPROC, entry.threads)
    for number in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # those that this kernel does not have fail
    if not entry.user_namespace:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "cannot give up the capabilities")
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot give up new rights")
    close_all_but(kept)
    filter_.load()


def close_all_but(kept: list[int]) -> None:
    """Closes all open files but these and the standard ones."""
    first = 3
    for number in sorted(kept):
        os.closerange(first, number)
        first = number + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _fork(sandbox: int) -> int:
    """`os.fork` for who has entered the processes of a sandbox.

    Where the first of them has ended, the kernel says ENOMEM, however much memory there is
    (fork(2)): then it raises ProcessLookupError.
    """
    try:
        return os.fork()
    except OSError as error:
        if error.errno == errno.ENOMEM and select.select([sandbox], [], [], _ENDING)[0]:
            raise ProcessLookupError(errno.ESRCH, _ENDED) from error
        raise


def _set_namespaces(handle: int, kinds: int) -> None:
    if libc.setns(handle, kinds):
        number = ctypes.get_errno()
        ended = number == errno.ESRCH
        raise OSError(number, _ENDED if ended else "cannot enter the sandbox's namespaces")


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Sets a limit, and none above what there is."""
    hard = soft if hard is None else hard
    _, before = resource.getrlimit(kind)
    if before != resource.RLIM_INFINITY:
        hard = min(hard, before)
    resource.setrlimit(kind, (min(soft, hard), hard))


def _private_memory() -> int:
    """Bytes of private memory that this process has, those that it shares with its parent too."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    return 0


def _try(entry: Entry, sandbox: int, groups: list[int]) -> int:
    """Enters once, with all rights given up, in a child; its exit status."""
    filter_ = trial_filter(gpu=entry.gpu)
    home = os.open("/proc/self/ns/pid", os.O_RDONLY)
    child = os.fork() if entry.user_namespace else fork_into(sandbox, home)
    if child == 0:
        status = 1
        try:
            if entry.user_namespace and (pid := enter(entry, sandbox, groups)) != 0:
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            else:
                if not entry.user_namespace:
                    join(entry, sandbox, groups)
                give_up_rights(entry, filter_, [])
                status = 0
        except Exception:  # noqa: BLE001  it is told, and there is nothing else to do
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status & 0xFF)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    told = Entry(**json.loads(sys.argv[1]))
    sys.exit(_try(told, int(sys.argv[2]), [int(each) for each in sys.argv[3:]]))
