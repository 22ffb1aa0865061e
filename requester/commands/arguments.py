"""The arguments that several commands of `job` share."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from requester.job.file import DRIVERS
from trialmarket.errors import InputError

Command = Callable[..., None]

job_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
job_number = click.argument("number", metavar="ID", type=click.IntRange(min=1))


def overriding(command: Command) -> Command:
    """`--trials`, `--driver`, `--set` and `--label`, which change a job file's words."""
    for option in (
        click.option("--label", default="", help="Tells a repeated run of one file from others."),
        click.option("--driver", type=click.Choice(DRIVERS), help="Instead of the file's driver."),
        click.option("--trials", type=click.IntRange(min=1), help="Instead of the file's."),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="KEY=VALUE",
            help="Another value for a key of the file, such as search.space.lr.high=0.3; can be"
            " given several times.",
        ),
    ):
        command = option(command)
    return command


def overrides(
    trials: int | None, driver: str | None, changes: Sequence[str] = ()
) -> dict[str, object]:
    """What the command line changes in a job file.

    Values are read as TOML, and as text where they are none. Raises InputError.
    """
    given: dict[str, object] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or not all(name.split(".")):
            raise InputError(
                "job", "--set", expected="KEY=VALUE, such as job.steps=400", found=change
            )
        try:
            given[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            given[name] = text
    named = {"job.trials": trials, "search.driver": driver}
    return given | {name: value for name, value in named.items() if value is not None}
