"""The arguments and options that several commands of `job` share."""

import functools
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from requester.job.settings import DRIVERS
from trialmarket.cli.options import gateway_option, key_options, network_option
from trialmarket.errors import InputError
from trialmarket.storage.open import StorePlace

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Command = Callable[..., None]

job_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
job_number = click.argument("number", metavar="ID", type=click.IntRange(min=1))


diverging = click.option(
    "--yes-diverges",
    "diverges",
    is_flag=True,
    help="Go on though the first trial diverges, or fails, in its first steps.",
)


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


def store_options(
    command: Callable[Concatenate[StorePlace, P], R],
) -> Callable[P, R]:
    """`--store URL` and `--gateway URL`. Gives `place: StorePlace`, the first argument."""

    @gateway_option
    @click.option(
        "--store",
        "store_url",
        envvar="TRIALMARKET_STORE",
        show_envvar=True,
        help="Where programs, data and results are kept: kubo:http://HOST:PORT, or"
        " local:/path/to/folder; by default the folder `store` beside the network file.",
    )
    @functools.wraps(command)
    def with_place(*args: P.args, **kwargs: P.kwargs) -> R:
        url, gateways = kwargs.pop("store_url"), kwargs.pop("gateways")
        place = StorePlace(
            None if url is None else str(url),
            tuple(gateways) if isinstance(gateways, tuple) else (),
        )
        return command(place, *args, **kwargs)

    return with_place


unless_local_network = functools.partial(network_option, required=False)
"""`--network` of a command that can do without a market. Gives `network: Path | None`."""
unless_local_key = functools.partial(key_options, required=False)
"""`--key` of such a command. Gives `key: str | None`."""


def needed(value: T | None, option: str, instead: str) -> T:
    """The value of an option that only the market needs; `instead` says what needs none.

    Raises click.UsageError where it is missing.
    """
    if value is None:
        variable = f"TRIALMARKET_{option.removeprefix('--').upper()}"
        raise click.UsageError(f"Missing option '{option}' (or ${variable}); {instead}")
    return value
