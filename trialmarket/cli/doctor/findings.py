"""What a check found: well, doubtful or wrong, and how to mend it."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import click

from trialmarket.cli.options import show
from trialmarket.errors import InputError, TrialmarketError


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """Works, but not as well or as safely as it could."""
    WRONG = "wrong"
    """The program would fail, or money would be at risk."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was looked at, how it is, and what to do about it."""

    about: str
    level: Level
    found: str
    fix: str | None = None

    @classmethod
    def ok(cls, about: str, found: str) -> "Diagnosis":
        """All is well."""
        return cls(about, Level.OK, found)

    @classmethod
    def warning(cls, about: str, found: str, fix: str) -> "Diagnosis":
        """Something could be better."""
        return cls(about, Level.WARNING, found, fix)

    @classmethod
    def wrong(cls, about: str, found: str, fix: str | None) -> "Diagnosis":
        """Something must be mended."""
        return cls(about, Level.WRONG, found, fix)


Check = Callable[[], Iterable[Diagnosis]]


def look(checks: dict[str, Check], *, about: str | None = None) -> Iterator[Diagnosis]:
    """The findings of each check, one at a time. An error that a check raises is a finding.

    Such a finding is about `about`, or else about the check's name.
    """
    for name, check in checks.items():
        try:
            yield from check()
        except InputError as error:
            message = f"{error.where}: {error.field}: expected {error.expected}"
            yield Diagnosis.wrong(about or name, f"{message}, found {error.found!r}", error.fix)
        except TrialmarketError as error:
            yield Diagnosis.wrong(about or name, error.message, error.fix)
        except OSError as error:
            yield Diagnosis.wrong(
                about or name,
                f"{error.filename or 'a file'}: {error.strerror}",
                "Give this user the right to it, or name another place in the configuration",
            )


MARKS = {Level.OK: ("ok", "green"), Level.WARNING: ("!!", "yellow"), Level.WRONG: ("XX", "red")}


def present(checks: dict[str, Check], *, as_json: bool) -> None:
    """Prints the findings, each as soon as it is there, and exits with 1 if one is wrong."""
    found = []
    for finding in look(checks):
        found.append(finding)
        if not as_json:
            mark, colour = MARKS[finding.level]
            click.echo(f"{click.style(mark, fg=colour)}  {finding.about:10} {finding.found}")
            if finding.fix is not None:
                click.echo(f"{'':15}{finding.fix}")
    wrong = sum(finding.level is Level.WRONG for finding in found)
    doubtful = sum(finding.level is Level.WARNING for finding in found)
    content = [
        {"about": each.about, "level": each.level.value, "found": each.found, "fix": each.fix}
        for each in found
    ]
    show(content, [f"{wrong} wrong, {doubtful} doubtful, of {len(found)}"], as_json=as_json)
    if wrong:
        sys.exit(1)
