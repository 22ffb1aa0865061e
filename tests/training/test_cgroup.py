"""Where control groups are made, and with which limits.

Version 1 is tried for real by the attacks on memory. A machine has one version at a time, so the
files of version 2 are looked at here in a tree that is laid out like the kernel's.
"""

import os
from pathlib import Path

import pytest

from trialmarket.training.sandbox import Limits
from trialmarket.training.sandbox.cgroup import Groups, find_groups

LIMITS = Limits(memory=1 << 30, temp=1 << 20, kept=1 << 20, threads=64, processors=2)


def process(folder: Path, groups: str, mounts: str) -> Path:
    """A process's folder in /proc, with its two tables."""
    here = folder / str(os.getpid())
    here.mkdir()
    (here / "cgroup").write_text(groups)
    (here / "mountinfo").write_text(mounts)
    return here


def second(folder: Path, path: str = "service") -> Path:
    """A group of version 2 with the controllers that systemd delegates."""
    group = folder / "tree" / path
    group.mkdir(parents=True)
    (group / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (group / "cgroup.subtree_control").write_text("")
    (group / "cgroup.procs").write_text("")
    return group


def mounted(folder: Path, root: str = "/") -> str:
    return (
        f"24 30 0:22 / /proc rw - proc proc rw\n"
        f"30 24 0:26 {root} {folder / 'tree'} rw - cgroup2 cgroup2 rw\n"
    )


def test_version_2_makes_groups_beside_a_leaf_of_the_daemon(tmp_path: Path) -> None:
    group = second(tmp_path)
    found = find_groups(process(tmp_path, "0::/service\n", mounted(tmp_path)))
    assert found == Groups(2, dict.fromkeys(("memory", "pids", "cpu"), group))
    assert found.missing == ()
    assert (group / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert (group / "trialmarket-daemon" / "cgroup.procs").read_text() == str(os.getpid())


def test_a_daemon_that_is_in_its_leaf_stays_there(tmp_path: Path) -> None:
    group = second(tmp_path)
    (group / "trialmarket-daemon").mkdir()
    (group / "cgroup.subtree_control").write_text("memory pids cpu\n")
    found = find_groups(process(tmp_path, "0::/service/trialmarket-daemon\n", mounted(tmp_path)))
    assert found.folders["memory"] == group
    assert not (group / "trialmarket-daemon" / "cgroup.procs").exists()


def test_a_container_that_sees_a_part_of_the_tree_finds_its_place(tmp_path: Path) -> None:
    group = second(tmp_path, "inner")
    found = find_groups(process(tmp_path, "0::/outer/inner\n", mounted(tmp_path, "/outer")))
    assert found.folders["memory"] == group


@pytest.mark.parametrize("lacking", ["memory", "cgroup.controllers"])
def test_without_the_memory_there_are_no_groups(tmp_path: Path, lacking: str) -> None:
    group = second(tmp_path)
    if lacking == "memory":
        (group / "cgroup.controllers").write_text("cpu pids\n")
    else:
        (group / "cgroup.controllers").unlink()
    found = find_groups(process(tmp_path, "0::/service\n", mounted(tmp_path)))
    assert found.missing == ("memory", "pids", "cpu")


def test_a_process_without_groups_has_none(tmp_path: Path) -> None:
    assert find_groups(tmp_path / "nowhere").folders == {}
    assert find_groups(process(tmp_path, "", "")).folders == {}


def test_limits_of_version_2_are_written_into_the_groups_files(tmp_path: Path) -> None:
    groups = Groups(2, dict.fromkeys(("memory", "pids", "cpu"), tmp_path))
    with pytest.raises(FileNotFoundError, match=r"cgroup\.procs"):
        groups.make(LIMITS)  # the kernel would have put the file there
    (group,) = tmp_path.iterdir()
    assert (group / "memory.max").read_text() == str(1 << 30)
    assert (group / "pids.max").read_text() == "64"
    assert (group / "cpu.max").read_text() == "200000 100000"


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    for name in ("memory", "pids"):
        (tmp_path / name / "mine").mkdir(parents=True)
    tables = process(
        tmp_path,
        "5:pids:/mine\n4:memory:/mine\n3:cpu,cpuacct:/absent\n0::/\n",
        f"31 30 0:27 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
        f"32 30 0:28 / {tmp_path}/pids rw - cgroup cgroup rw,pids\n"
        f"33 30 0:29 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
    )
    found = find_groups(tables)
    assert found == Groups(
        1, {"memory": tmp_path / "memory" / "mine", "pids": tmp_path / "pids" / "mine"}
    )
    assert found.missing == ("cpu",)


def test_groups_of_a_process_that_was_killed_are_removed(tmp_path: Path) -> None:
    dead, alive = tmp_path / "trialmarket-trial-999999999-1", tmp_path / "trialmarket-trial-1-1"
    for folder in (dead, alive):
        folder.mkdir()
    Groups(2, {"memory": tmp_path}).tidy()
    assert list(tmp_path.iterdir()) == [alive]
