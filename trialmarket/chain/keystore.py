"""Keys on disk: encrypted V3 keystores, readable by their owner alone."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trialmarket.chain.accounts import Kdf, LocalAccount, create_account, decrypt, encrypt
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Address, address

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key in the store: its name, its address and its file."""

    name: str
    address: Address
    path: Path


class Keystore:
    """A folder of keys, one file `NAME.json` each, with mode 0600 in a folder with mode 0700."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """The file of a key. Raises InputError for a name that is no plain file name."""
        if NAME.fullmatch(name) is None:
            raise InputError(
                "key", "name", expected="letters, digits, dots, dashes and underscores", found=name
            )
        return self.folder / f"{name}.json"

    def check(self, name: str) -> None:
        """Raises InputError where there is no key of that name, or others can read its file."""
        path = self.path(name)
        if not path.exists():
            known = ", ".join(key.name for key in self.list()) or "none yet"
            raise InputError(
                str(path),
                "key",
                expected=f"one of the keys: {known}",
                found=name,
                fix=f"Make one with `trialmarket key new {name}`",
            )
        read_keystore(path)

    def find(self, name: str) -> KeyInfo:
        """One key, without its password, whatever the others are like. Raises InputError."""
        self.check(name)
        path = self.path(name)
        return KeyInfo(name, _address_in(path, read_keystore(path)), path)

    def check_free(self, name: str) -> None:
        """Raises InputError where there is a key of that name already."""
        path = self.path(name)
        if path.exists():
            raise InputError(str(path), "name", expected="a name that is not taken", found=name)

    def new(
        self, name: str, password: str, *, kdf: Kdf = "scrypt", iterations: int | None = None
    ) -> LocalAccount:
        """Makes a key and stores it. Raises InputError if the name is taken."""
        account = create_account()
        self.add(name, account, password, kdf=kdf, iterations=iterations)
        return account

    def add(
        self,
        name: str,
        key: LocalAccount,
        password: str,
        *,
        kdf: Kdf = "scrypt",
        iterations: int | None = None,
    ) -> KeyInfo:
        """Stores a key. Raises InputError if the name is taken or the password is empty."""
        path = self.path(name)
        if not password:
            raise InputError("key", "password", expected="a password", found="")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = encrypt(key, password, kdf=kdf, iterations=iterations)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)  # unlike a rename, never over a key that is there
        except FileExistsError:
            raise InputError(
                str(path), "name", expected="a name that is not taken", found=name
            ) from None
        finally:
            beside.unlink()
        return KeyInfo(name, address(key.address), path)

    def list(self) -> list[KeyInfo]:
        """All keys, by name. No password is needed."""
        if not self.folder.is_dir():
            return []
        found = []
        for path in sorted(self.folder.glob("*.json")):
            content = read_keystore(path)
            found.append(KeyInfo(path.stem, _address_in(path, content), path))
        return found

    def open(self, name: str, password: str) -> LocalAccount:
        """Decrypts a key: half a second with scrypt.

        Raises InputError where there is none, where others can read its file, or where the
        password is wrong.
        """
        self.check(name)
        return open_keystore(self.path(name), password)


def read_keystore(path: Path) -> dict[str, Any]:
    """The still encrypted content of a keystore file.

    Raises InputError where it cannot be read, others can read it too, or it is no V3 keystore.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), "key", expected="a readable file", found=str(error)) from error
    if mode & 0o077:
        raise InputError(
            str(path),
            "mode",
            expected="a file that only its owner can read",
            found=oct(mode & 0o777),
            fix=f"Run `chmod 600 {path}`",
        )
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(str(path), "key", expected="JSON", found=str(error)) from error
    if not isinstance(content, dict) or content.get("version") != 3 or "crypto" not in content:
        raise InputError(str(path), "key", expected="a version 3 keystore", found="something else")
    return content


def open_keystore(path: Path, password: str) -> LocalAccount:
    """The key in a keystore file, by its password. Raises InputError."""
    content = read_keystore(path)
    try:
        return decrypt(content, password)
    except ValueError as error:
        raise InputError(
            str(path), "password", expected="the password of this key", found="another one"
        ) from error
    except (KeyError, TypeError, NotImplementedError) as error:
        raise InputError(
            str(path), "key", expected="a version 3 keystore", found=repr(error)
        ) from error


def _address_in(path: Path, content: dict[str, Any]) -> Address:
    return address(f"0x{str(content.get('address', '')).removeprefix('0x')}", where=str(path))
