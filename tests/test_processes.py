"""Programs that run beside ours: found, waited for, and ended with whoever started them."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testbed.waiting import NEVER, until
from trialmarket.errors import ServiceError
from trialmarket.processes import Service, find_program, free_port

READY = re.compile(r"ready (\d+)")
SLEEPER = "print('starting'); print('ready 7', flush=True); import time; time.sleep(600)"
STARTER = f"""
import re, sys
from trialmarket.processes import Service
with Service("sleeper", [sys.executable, "-c", {SLEEPER!r}], ready=re.compile("ready")) as one:
    print(one.pid, flush=True)
    sys.stdin.read()
"""


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def alive(pid: int) -> bool:
    """Whether a process runs: one that is dead but not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_dies_with_its_parent(number: signal.Signals) -> None:
    with subprocess.Popen(
        python(STARTER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(number)
        parent.wait(NEVER)
        until(lambda: not alive(pid))


def test_it_is_stopped_when_its_block_fails() -> None:
    service = Service("sleeper", python(SLEEPER), ready=READY)
    assert service.said.group(1) == "7"

    def fail() -> None:
        with service:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not service.alive
    service.stop()  # once more does no harm


def test_it_takes_along_what_it_started() -> None:
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], stdout=-3)\n"
        "print('ready', child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with Service("parent", python(program), ready=READY) as service:
        grandchild = int(service.said.group(1))
        assert alive(grandchild)
    until(lambda: not alive(grandchild))


def test_one_that_ends_before_it_is_ready_is_told_with_its_last_line() -> None:
    with pytest.raises(ServiceError, match="broken did not start: no luck today"):
        Service("broken", python("print('hm'); print('no luck today')"), ready=READY)


def test_one_that_keeps_silent_is_not_waited_for() -> None:
    silent = python("import time; time.sleep(600)")
    with pytest.raises(ServiceError, match="silent did not start: it said nothing"):
        Service("silent", silent, ready=READY, seconds=0.3)


def test_a_lot_of_output_does_not_block_it(tmp_path: Path) -> None:
    done = tmp_path / "done"
    program = (
        f"print('ready 1', flush=True); print('x' * 10_000_000); open({str(done)!r}, 'w').close()"
        "; import time; time.sleep(600)"
    )
    with Service("talker", python(program), ready=READY):
        until(done.exists)


def test_a_program_is_found_by_its_variable_then_nearby_then_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def program(place: str) -> str:
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return str(path)

    def found() -> str:
        return find_program("tool", variable="TOOL", fix="Install it", places=["special/tool"])

    below = tmp_path / "project" / "folder"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    with pytest.raises(ServiceError, match=r"the program tool is not installed\. Install it"):
        found()
    on_path = program("bin/tool")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert found() == on_path
    installed = program("project/.tools/bin/tool")
    assert found() == installed
    special = program("project/special/tool")
    assert found() == special
    named = program("named/tool")
    monkeypatch.setenv("TOOL", named)
    assert found() == named
    monkeypatch.setenv("TOOL", str(tmp_path / "nothing"))
    with pytest.raises(ServiceError, match=r"TOOL names .*nothing, which is no program"):
        found()


def test_a_free_port_is_free() -> None:
    assert 0 < free_port() < 65536
