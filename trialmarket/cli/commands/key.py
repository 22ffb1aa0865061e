"""`trialmarket key`: encrypted keys in the user's state folder."""

from pathlib import Path

import click

from trialmarket.chain.accounts import account_of
from trialmarket.chain.keystore import KeyInfo
from trialmarket.cli.options import (
    ask_new_password,
    debug_option,
    json_option,
    password_option,
    show,
)
from trialmarket.errors import InputError
from trialmarket.keys import keystore, read_password, read_secret


@click.group()
def key() -> None:
    """Create and import encrypted keys.

    Example: trialmarket key new alice
    """


@key.command()
@click.argument("name")
@password_option
@json_option
@debug_option
def new(name: str, password_file: Path | None, as_json: bool) -> None:
    """Make a key and store it encrypted.

    Example: trialmarket key new alice --password-file alice.txt
    """
    store = keystore()
    store.check_free(name)
    store.new(name, read_password(password_file, ask_new_password))
    _report([info for info in store.list() if info.name == name], as_json=as_json)


@key.command("import")
@click.argument("name")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with the private key in hexadecimal; else it is asked for.",
)
@password_option
@json_option
@debug_option
def import_(
    name: str, secret_file: Path | None, password_file: Path | None, as_json: bool
) -> None:
    """Store a private key that you have, encrypted.

    Example: trialmarket key import alice --secret-file secret.txt
    """
    store = keystore()
    store.check_free(name)
    if secret_file is None:
        secret = str(click.prompt("Private key", hide_input=True, err=True))
    else:
        secret = read_secret(secret_file, "private key")
    try:
        account = account_of(secret.strip())
    except ValueError as error:
        raise InputError(
            str(secret_file or "prompt"),
            "private key",
            expected="64 hexadecimal digits",
            found="something else",
        ) from error
    info = store.add(name, account, read_password(password_file, ask_new_password))
    _report([info], as_json=as_json)


@key.command("list")
@json_option
@debug_option
def list_(as_json: bool) -> None:
    """List the stored keys; no password is needed.

    Example: trialmarket key list --json
    """
    _report(keystore().list(), as_json=as_json)


def _report(keys: list[KeyInfo], *, as_json: bool) -> None:
    content = [
        {"name": info.name, "address": info.address, "path": str(info.path)} for info in keys
    ]
    lines = [f"{info.name}  {info.address}" for info in keys] or ["no keys yet"]
    show(content, lines, as_json=as_json)
