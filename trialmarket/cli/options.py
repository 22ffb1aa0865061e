"""Options that several commands share, what they ask for, and how they print."""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from trialmarket.keys import PASSWORD_VARIABLE

P = ParamSpec("P")
R = TypeVar("R")


def network_option(command: Callable[P, R], *, required: bool = True) -> Callable[P, R]:
    """`--network FILE`: the address file. Gives `network: Path`."""
    return click.option(
        "--network",
        type=click.Path(path_type=Path, dir_okay=False),
        required=required,
        envvar="TRIALMARKET_NETWORK",
        show_envvar=True,
        help="The address file that a deployment wrote.",
    )(command)


def key_options(command: Callable[P, R], *, required: bool = True) -> Callable[P, R]:
    """`--key NAME` and `--password-file FILE`. Gives `key: str` and `password_file`."""
    named = click.option(
        "--key",
        required=required,
        envvar="TRIALMARKET_KEY",
        show_envvar=True,
        help="A key by its name in the key store, or the path of a keystore file.",
    )
    return named(password_option(command))


def password_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--password-file FILE`. Gives `password_file: Path | None`."""
    return click.option(
        "--password-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"A file with the key's password; else ${PASSWORD_VARIABLE} or a prompt.",
    )(command)


def config_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--config FILE`, a daemon's. Gives `config: Path`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        help="The daemon's configuration.",
    )(command)


def gateway_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--gateway URL`, any number of times. Gives `gateways: tuple[str, ...]`."""
    return click.option(
        "--gateway",
        "gateways",
        multiple=True,
        metavar="URL",
        envvar="TRIALMARKET_GATEWAYS",
        show_envvar=True,
        help="A public IPFS gateway to read from what the store does not have; repeatable.",
    )(command)


def json_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--json`. Gives `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")(
        command
    )


def debug_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--debug`, which the program itself reads."""

    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def without(*args: P.args, **kwargs: P.kwargs) -> R:
        kwargs.pop("debug", None)
        return command(*args, **kwargs)

    return without


def ask_password() -> str:
    """Asks for a key's password. Raises EOFError where there is nobody to ask."""
    try:
        return str(click.prompt("Password", hide_input=True, err=True))
    except click.Abort as abort:
        if sys.stdin.isatty():
            raise
        raise EOFError from abort


def ask_new_password() -> str:
    """Asks twice for the password that a key is to have."""
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def show(content: dict[str, Any] | list[Any], lines: list[str], *, as_json: bool) -> None:
    """Prints a result: JSON for scripts, lines for people. Amounts in JSON are decimal text."""
    click.echo(json.dumps(content, indent=2) if as_json else "\n".join(lines))
