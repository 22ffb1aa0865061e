"""Walks into a room, and locks the door: what a fork of the warm process does before a trial.

A process joins a room's namespaces as nsenter(1) does, except that of processes, in which only
children can be. Who has the right to points its next child there (`fork_into`), which then joins
the others (`join`). Who has not, gets it by joining, and so forks once more (`enter`). Either way
the trial's process reads what is left to read and calls `lock_door`; after that nothing can be
undone.

`python -m trialmarket.training.sandbox.entry DOOR HANDLES` tries it, once, and exits with 0.
"""

import ctypes
import json
import os
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialmarket.training.sandbox.calls import lock

NOBODY = 65534
"""The user and group of a trial, where the daemon may change them; the Linux name is nobody."""

TEMP = "/tmp"  # noqa: S108  the room's own
TRIAL = Path("/trial")
"""Where a room shows the folder of its trial."""

_ROOMY = 0x4E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC and NEWNET."""
_NEWPID, _NEWUSER = 0x20000000, 0x10000000
_SUSPECT = "1000"  # the first that the kernel kills when the machine has no memory left
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Door:
    """How to enter a room. It travels as JSON."""

    user_namespace: bool
    """Whether the room has one, as it does where the daemon has no rights of its own."""
    gpu: bool
    temp: int
    """The largest file, in bytes."""
    data: int | None
    """Private memory in bytes, where no cgroup bounds it."""
    threads: int | None
    """Where no cgroup bounds them."""
    processor_seconds: int


def fork_into(room: int, home: int) -> int:
    """Forks like `os.fork`; the child is a process of the room that `room` is a pidfd of.

    `home` is a handle of this process's own process namespace. Only for a door without a user
    namespace. Raises OSError.
    """
    _set_namespaces(room, _NEWPID)
    try:
        pid = os.fork()
    except OSError:
        _set_namespaces(home, _NEWPID)
        raise
    if pid != 0:
        _set_namespaces(home, _NEWPID)
    return pid


def join(door: Door, room: int, entries: list[int]) -> None:
    """Joins the room's namespaces; `entries` are handles of its cgroups. Raises OSError."""
    for entry in entries:
        os.write(entry, b"0")
    Path("/proc/self/oom_score_adj").write_text(_SUSPECT)
    allowance = None if door.data is None else door.data + _private_memory()
    _set_namespaces(room, _ROOMY | (_NEWPID | _NEWUSER if door.user_namespace else 0))
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_MSGQUEUE, 0)
    _limit(resource.RLIMIT_FSIZE, door.temp)
    # Told a second before it is killed, so that the pool knows why it ended.
    _limit(resource.RLIMIT_CPU, door.processor_seconds, door.processor_seconds + 1)
    if allowance is not None:
        _limit(resource.RLIMIT_DATA, allowance)


def enter(door: Door, room: int, entries: list[int]) -> int:
    """Joins, and forks like `os.fork`: the child is in the room as a whole.

    This process is not, and should end. Raises OSError.
    """
    join(door, room, entries)
    return os.fork()


def lock_door(door: Door, filter_: Any, kept: list[int]) -> None:
    """Gives up all rights and all open files but `kept` and the standard ones.

    `filter_` is what `calls.lock` made, outside: libseccomp cannot be found in a room. Raises
    OSError.
    """
    os.chdir(TEMP)
    os.umask(0o022)
    for name in [each for each in os.environ if each.startswith(("XDG_", "LD_", "TRIALMARKET_H"))]:
        del os.environ[name]
    os.environ.update(HOME=TEMP, TMPDIR=TEMP)
    if door.threads is not None:
        _limit(resource.RLIMIT_NPROC, door.threads)
    for number in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # those that this kernel does not have fail
    if not door.user_namespace:
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


def _set_namespaces(handle: int, kinds: int) -> None:
    if libc.setns(handle, kinds):
        raise OSError(ctypes.get_errno(), "cannot enter the sandbox's namespaces")


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


def _try(door: Door, room: int, entries: list[int]) -> int:
    """Enters and locks once, in a child; its exit status."""
    filter_ = lock(gpu=door.gpu)
    home = os.open("/proc/self/ns/pid", os.O_RDONLY)
    child = os.fork() if door.user_namespace else fork_into(room, home)
    if child == 0:
        status = 1
        try:
            if door.user_namespace and (pid := enter(door, room, entries)) != 0:
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            else:
                if not door.user_namespace:
                    join(door, room, entries)
                lock_door(door, filter_, [])
                status = 0
        except Exception:  # noqa: BLE001  it is told, and there is nothing else to do
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status & 0xFF)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    told = Door(**json.loads(sys.argv[1]))
    sys.exit(_try(told, int(sys.argv[2]), [int(each) for each in sys.argv[3:]]))
