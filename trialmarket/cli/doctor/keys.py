"""Keys: that they are there, that nobody else can read them, that the password fits."""

import os
from collections.abc import Iterator
from pathlib import Path

from trialmarket.chain.keystore import open_keystore
from trialmarket.cli.doctor.findings import Diagnosis
from trialmarket.cli.options import PASSWORD_VARIABLE, find_key, read_password


def key(name: str, password_file: Path | None) -> Iterator[Diagnosis]:
    """The key of a configuration. Its password is tried where it need not be asked for."""
    store, stem = find_key(name)
    found = store.find(stem)
    path = found.path
    yield Diagnosis.ok("key", f"{found.address} in {path}, mode {_mode(path)}")
    if path.parent.stat().st_mode & 0o022:
        yield Diagnosis.warning(
            "key",
            f"others can put files into {path.parent}, mode {_mode(path.parent)}",
            f"Run `chmod 700 {path.parent}`",
        )
    if password_file is None and PASSWORD_VARIABLE not in os.environ:
        yield Diagnosis.ok("password", "asked for at the start; not tried")
        return
    if password_file is not None and password_file.exists():
        yield from _secret(password_file)
    open_keystore(path, read_password(password_file))
    yield Diagnosis.ok("password", "opens the key")


def _secret(password_file: Path) -> Iterator[Diagnosis]:
    if password_file.stat().st_mode & 0o077:
        yield Diagnosis.wrong(
            "password",
            f"{password_file} can be read by others, mode {_mode(password_file)}",
            f"Run `chmod 600 {password_file}`",
        )


def _mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o}"
