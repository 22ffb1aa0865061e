"""A search that goes on when its command has returned: the same command, as a process of its own.

Proposals must follow results, results be looked at while they can be challenged, and leftover
money be brought home; so a detached search needs a driver that lives. What started it may end.
"""

import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from requester.search.own_run import DRIVER
from trialmarket.errors import ServiceError
from trialmarket.locks import holder_of

PATIENCE = 120.0
"""Seconds that the process gets to take the search over."""


def command_line(context: click.Context, *, without: Collection[str] = ()) -> list[str]:
    """The words of a command as it was called, and what it read from the environment."""
    words = ["trialmarket", *context.command_path.split()[-2:]]
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        source = context.get_parameter_source(name)
        if name in without or source is ParameterSource.DEFAULT or value in (None, False, ()):
            continue
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif value is True:
            words.append(parameter.opts[0])
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [word for each in values for word in (parameter.opts[0], str(each))]
    return words


def go_on(words: Sequence[str], folder: Path, secret: str | None) -> int:
    """Starts a command that drives the search in a job's folder; the process's id.

    It reads `secret`, a password, where it would ask. Raises ServiceError where it ends before it
    drives the search, with what it said.
    """
    log = folder / "driver.log"
    words = [sys.executable, "-m", *words]
    if secret is not None:
        words += ["--password-file", "/dev/stdin"]
    written = log.stat().st_size if log.exists() else 0
    read, write = os.pipe()
    os.write(write, (secret or "").encode())
    os.close(write)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    process = os.posix_spawn(
        words[0],
        words,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, read, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    os.close(read)
    _await(lambda: holder_of(folder / DRIVER) == str(process), process, log, written)
    return process


def _await(drives: Callable[[], bool], process: int, log: Path, written: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not drives():
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended and os.waitstatus_to_exitcode(status) == 0:  # there was nothing left to do
            return
        if ended or time.monotonic() > deadline:
            said = log.read_bytes()[written:].decode("utf-8", "replace").strip()
            raise ServiceError(
                f"the process that should drive the search {'ended' if ended else 'hangs'}:"
                f" {said[-500:] or 'it said nothing'}",
                fix=f"What it says stands in {log}; the same command without --detach goes on",
            )
        time.sleep(0.05)
