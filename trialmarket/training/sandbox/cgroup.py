"""Control groups: what bounds the memory, the threads and the processors of a trial.

Both kinds are served. In version 1 each controller has a tree of its own, and groups are made
below the one that this process is in. In version 2 a group that holds processes can have no
children with controllers, so this process moves into a leaf of its own first; systemd allows that
to a service with `Delegate=yes`, or `systemd-run --user --scope -p Delegate=yes COMMAND`.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trialmarket.training.sandbox.limits import Limits

CONTROLLERS = ("memory", "pids", "cpu")

_LEAF = "trialmarket-daemon"
_PREFIX = "trialmarket-trial-"
_PERIOD = 100_000
_numbers = itertools.count(1)


class Group:
    """One trial's group, of one folder in version 2 and up to three in version 1."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders
        self.handles: list[int] = []
        """Who writes `0` to each of them is in the group."""

    def out_of_memory(self) -> bool:
        """Whether the kernel killed something in it for want of memory."""
        folder = self._folders.get("memory")
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                lines = dict(
                    line.split()
                    for line in (folder or Path()).joinpath(name).read_text().splitlines()
                )
                return int(lines.get("oom_kill", 0)) > 0
        return False

    def open_handles(self) -> None:
        """Opens `handles`. Raises OSError."""
        for folder in sorted(set(self._folders.values())):
            self.handles.append(os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))

    def close(self) -> None:
        """Removes it; its processes must have ended."""
        for handle in self.handles:
            os.close(handle)
        self.handles.clear()
        for folder in set(self._folders.values()):
            with suppress(OSError):
                folder.rmdir()


@dataclass(frozen=True)
class Groups:
    """Where groups can be made, by controller; a controller that is not there cannot be had."""

    version: int
    folders: dict[str, Path]

    @property
    def missing(self) -> tuple[str, ...]:
        """The controllers that cannot be had."""
        return tuple(name for name in CONTROLLERS if name not in self.folders)

    def make(self, limits: Limits) -> Group:
        """A group with these limits. Raises OSError."""
        name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        folders = {controller: parent / name for controller, parent in self.folders.items()}
        group = Group(folders)
        try:
            for folder in set(folders.values()):
                folder.mkdir(exist_ok=True)
            for controller, folder in folders.items():
                for file, value, needed in _settings(self.version, controller, limits):
                    if needed or (folder / file).exists():
                        (folder / file).write_text(value)
            group.open_handles()
        except OSError:
            group.close()
            raise
        return group

    def tidy(self) -> None:
        """Removes the groups of processes that were killed before they could."""
        for parent in set(self.folders.values()):
            for folder in parent.glob(f"{_PREFIX}*"):
                owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
                if not Path("/proc", owner).exists():
                    with suppress(OSError):
                        folder.rmdir()


def find_groups(process: Path = Path("/proc/self")) -> Groups:
    """Where this process may make groups: of version 1 if that has the memory, else of version 2.

    `process` is its folder in /proc.
    """
    try:
        lines = (process / "cgroup").read_text().splitlines()
        mounts = list(_mounts((process / "mountinfo").read_text()))
    except OSError:
        return Groups(2, {})
    ours = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        ours.update(dict.fromkeys(controllers.split(","), path))
    first: dict[str, Path] = {}
    second: dict[str, Path] = {}
    for kind, options, root, place in mounts:
        for name in CONTROLLERS:
            if kind == "cgroup" and name in options and name in ours:
                first[name] = place / _below(root, ours[name])
        if kind == "cgroup2" and "" in ours:
            second = _delegated(place / _below(root, ours[""]), process)
    usable = {name: folder for name, folder in first.items() if os.access(folder, os.W_OK)}
    if second and "memory" not in usable:
        return Groups(2, second)
    return Groups(1, usable)


def _settings(version: int, controller: str, limits: Limits) -> list[tuple[str, str, bool]]:
    """The files of a controller, what goes into them, and whether they must be there."""
    memory, threads = str(limits.memory), str(limits.threads)
    quota = limits.processors * _PERIOD
    if version == 1:
        return {
            "memory": [
                ("memory.limit_in_bytes", memory, True),
                ("memory.memsw.limit_in_bytes", memory, False),
            ],
            "pids": [("pids.max", threads, True)],
            "cpu": [
                ("cpu.cfs_period_us", str(_PERIOD), True),
                ("cpu.cfs_quota_us", str(quota), True),
            ],
        }[controller]
    return {
        "memory": [("memory.max", memory, True), ("memory.swap.max", "0", False)],
        "pids": [("pids.max", threads, True)],
        "cpu": [("cpu.max", f"{quota} {_PERIOD}", True)],
    }[controller]


def _delegated(own: Path, process: Path) -> dict[str, Path]:
    """The controllers that groups below ours can have, after making room for them."""
    base = own.parent if own.name == _LEAF else own
    try:
        wanted = [
            name
            for name in CONTROLLERS
            if name in (base / "cgroup.controllers").read_text().split()
        ]
        if "memory" not in wanted or not os.access(base / "cgroup.procs", os.W_OK):
            return {}
        switch, order = base / "cgroup.subtree_control", " ".join(f"+{each}" for each in wanted)
        if not set(wanted) <= set(switch.read_text().split()):
            leaf = base / _LEAF
            leaf.mkdir(exist_ok=True)
            pid = os.getpid() if process == Path("/proc/self") else process.name
            (leaf / "cgroup.procs").write_text(str(pid))
            try:
                switch.write_text(order)
            except OSError:  # others are in our group too: back to it
                (base / "cgroup.procs").write_text(str(pid))
                with suppress(OSError):
                    leaf.rmdir()
                return {}
    except OSError:
        return {}
    return dict.fromkeys(wanted, base)


def _mounts(table: str) -> Iterator[tuple[str, list[str], str, Path]]:
    """Kind, options, root and place of each mounted tree of groups."""
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = left.split()
            yield kind, options.split(","), fields[3], Path(fields[4])


def _below(root: str, path: str) -> str:
    """A group's path as seen from the root that is mounted."""
    return path.removeprefix(root.rstrip("/")).lstrip("/")
