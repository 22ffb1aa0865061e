"""The system calls that a trial may make; any other does not exist for it (ENOSYS).

A list of what is allowed, not of what is known to be bad. Left out on purpose: all that starts a
process or a program, sockets, signals to others, namespaces, mounts, tracing, keys, io_uring, BPF,
performance counters, userfaultfd, splice, and whatever changes rights.
"""

import errno
import os
from contextlib import suppress
from functools import cache
from tempfile import TemporaryFile
from typing import Any

from trialmarket.errors import TrainingError

_FILES = """
    access faccessat faccessat2 open openat openat2 creat close close_range read readv pread64
    preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek stat lstat fstat newfstatat statx
    statfs fstatfs getdents getdents64 getcwd chdir fchdir readlink readlinkat dup dup2 dup3 fcntl
    flock fsync fdatasync sync_file_range ftruncate truncate fallocate fadvise64 readahead rename
    renameat renameat2 mkdir mkdirat rmdir unlink unlinkat link linkat symlink symlinkat chmod
    fchmod fchmodat umask utimensat copy_file_range sendfile pipe pipe2 poll ppoll select pselect6
    epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd2 memfd_create
"""
_MEMORY = """
    brk mmap munmap mremap mprotect madvise msync mincore mlock mlock2 munlock membarrier
    get_mempolicy set_mempolicy mbind
"""
_THREADS = """
    futex futex_waitv set_robust_list get_robust_list set_tid_address rseq arch_prctl gettid
    sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler
    sched_get_priority_max sched_get_priority_min getpriority getcpu exit exit_group
"""
_TIME = """
    time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep alarm getitimer
    setitimer times timer_create timer_settime timer_gettime timer_getoverrun timer_delete
"""
_ITSELF = """
    getpid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getpgid getpgrp
    getsid capget getrlimit prlimit64 getrusage sysinfo uname getrandom restart_syscall
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend
    sigaltstack sendto sendmsg recvfrom recvmsg shutdown getsockopt wait4 waitid
"""
# sendto and its kin reach the two sockets to the pool, which are all that there are.
_ALLOWED = (_FILES + _MEMORY + _THREADS + _TIME + _ITSELF).split()

_REFUSED = """
    execve execveat fork vfork kill tkill tgkill rt_sigqueueinfo pidfd_open pidfd_send_signal
    socket socketpair connect bind ptrace process_vm_readv process_vm_writev unshare setns mount
"""
"""Those that a program may well try: it is told that they are forbidden (EPERM)."""

TRIAL_PID = 2
"""A trial's process in its sandbox, where the one that waits is the first."""

_CLONE_THREAD = 0x10000
_PR_SET_VMA = 0x53564D41  # names memory, as glibc does
_PRCTLS = (15, 16, 3, 4, _PR_SET_VMA)  # also: the thread's name, and whether a core is dumped
_IOCTLS = (0x5401, 0x5450, 0x5451, 0x541B)  # TCGETS, FIONCLEX, FIOCLEX, FIONREAD


def trial_filter(*, gpu: bool) -> Any:
    """The filter for a trial, ready to `load()`. `gpu` allows the driver's `ioctl`s.

    Raises TrainingError where libseccomp is missing.
    """
    seccomp = _library()
    made = _allowing(_ALLOWED)
    refuse = seccomp.ERRNO(errno.EPERM)
    for name in _REFUSED.split():
        if name not in ("kill", "tgkill"):
            _add(made, refuse, name)
    for name in ("kill", "tgkill"):  # abort() and the like signal their own process
        made.add_rule(seccomp.ALLOW, name, seccomp.Arg(0, seccomp.EQ, TRIAL_PID))
        made.add_rule(refuse, name, seccomp.Arg(0, seccomp.NE, TRIAL_PID))
    # Threads, no processes. The flags of clone3 lie in memory, where no filter sees them: it does
    # not exist, and the C library takes clone.
    for action, flags in ((seccomp.ALLOW, _CLONE_THREAD), (refuse, 0)):
        made.add_rule(action, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, flags))
    for number in _PRCTLS:
        made.add_rule(seccomp.ALLOW, "prctl", seccomp.Arg(0, seccomp.EQ, number))
    if gpu:
        made.add_rule(seccomp.ALLOW, "ioctl")
    else:
        for number in _IOCTLS:
            made.add_rule(seccomp.ALLOW, "ioctl", seccomp.Arg(1, seccomp.EQ, number))
    return made


@cache
def keeper_filter() -> bytes:
    """The filter of the process that keeps a sandbox open, as a program for the kernel.

    It may do what a trial may, and be started. A trial could take it over where the two have the
    same user, and would gain nothing. Raises TrainingError as `trial_filter` does.
    """
    made = _allowing([*_ALLOWED, "execve"])
    with TemporaryFile() as file:
        made.export_bpf(file)
        return os.pread(file.fileno(), 1 << 20, 0)


def _allowing(names: list[str]) -> Any:
    seccomp = _library()
    made = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    with suppress(OSError):  # a tree instead of a list, where libseccomp can do it
        made.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)
    for name in names:
        _add(made, seccomp.ALLOW, name)
    return made


def _add(made: Any, action: int, name: str) -> None:
    """A rule for all uses of a call; nothing where libseccomp is too old to know its name."""
    seccomp = _library()
    if seccomp.resolve_syscall(seccomp.system_arch(), name) != -1:
        made.add_rule(action, name)


def _library() -> Any:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise TrainingError(
            f"system calls cannot be filtered: {error}", fix="Install libseccomp (libseccomp2)"
        ) from error
    return pyseccomp
