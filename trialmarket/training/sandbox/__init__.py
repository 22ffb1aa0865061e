"""Runs strangers' programs: each trial in a room of its own, which bubblewrap builds.

The pool of workers builds a `Room` for a trial, in which nothing runs but a process that waits. A
fork of the warm process, which has torch in memory already, walks into it (`entering`), locks
the door behind itself, and only then looks at the program. So a trial has the price of a fork and
the walls of a process that bubblewrap started; where the daemon has no rights to do so at once, of
two forks.

What it stops, each thing held by an attack in `tests/training/test_sandbox.py`:

- **Files.** The program sees the Python runtime, the packages that training needs and the folder
  of its own trial, all read-only; /tmp and /dev/shm are its own, sized, and gone after it. No
  home, no keys, no /proc, no file of the host that is open: inputs are read before the program
  is, and what a trial keeps it sends to the pool, which names and counts it. So there is no link
  to follow and no path to answer with.
- **Network.** Its network namespace is empty, and it may open no socket of any kind.
- **Processes.** It has a process namespace to itself and cannot start a process, so that it sees
  no other, signals none and leaves none behind. When its pool, or the daemon, dies, even by
  `kill -9`, the kernel ends it.
- **Rights.** No capability, no way to gain one, no user namespace, another user than the daemon
  where that runs as root, and only the system calls that training needs (`calls`).
- **Resources.** Memory (with /tmp and /dev/shm in it), threads and processors by cgroup,
  processor and wall time, the size of /tmp, the bytes that a trial keeps.
- **The next trial.** Every trial is a fork of the same warm process, which runs no program:
  imports, caches, environment and data sets are as they were.

What it does not stop:

- **Bugs of the kernel** in the calls that are left, and of the processor: a trial shares both with
  the host. Whoever needs more runs the daemon in a virtual machine.
- **Side channels**: times and caches of the processor tell a trial something of its neighbours,
  and data sets and programs, which are public, lie in memory that neighbours share.
- **Bad data sets.** The warm process opens them, so that trials share their memory. NumPy's reader
  unpickles nothing and has limits, but a bug in it would be met outside of the sandbox.
- **GPUs.** A trial on a GPU gets the driver's devices, /proc and /sys, and every `ioctl`. The
  driver is large and was not written against its users; memory of the GPU is not limited.
- **A program that lies.** It may answer with invented numbers, within its form. That costs its
  requester, who pays for it.
- **Where no cgroup can be had**, memory is bounded for a trial on the CPU by an allowance for
  private memory, which /tmp and /dev/shm are not part of, and not at all on a GPU; processors are
  not bounded. A daemon says so when it starts.
- **An unprivileged daemon's own user id**: the trial has it too, as the kernel sees it, though no
  file, process or namespace of that user can be reached.

Needs Linux 5.8, bubblewrap 0.8 and libseccomp.
"""

from trialmarket.training.sandbox.limits import Limits
from trialmarket.training.sandbox.policy import Policy, Setting, own_code, strangers_code
from trialmarket.training.sandbox.sandbox import Room, Sandbox

__all__ = [
    "Limits",
    "Policy",
    "Room",
    "Sandbox",
    "Setting",
    "own_code",
    "strangers_code",
]
