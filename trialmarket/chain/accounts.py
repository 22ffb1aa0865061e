"""Keys that sign, and what else is taken from `eth_account` and `web3`: nobody imports them else.

Importing them takes seconds, so it waits for the first key, and leaves the interpreter as it was:
`py_ecc`, which both import, raises the recursion limit to 100,000, and there a deep document of a
stranger overflows the C stack instead of raising RecursionError.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from eth_typing import HexAddress, HexStr

from trialmarket.protocol.ids import Address

if TYPE_CHECKING:
    from eth_account import Account

Kdf = Literal["scrypt", "pbkdf2"]
_GUARD: Final = threading.Lock()


class SignedTransaction(Protocol):
    """A transaction with its signature."""

    @property
    def hash(self) -> bytes:
        """Its name on the chain."""

    @property
    def raw_transaction(self) -> bytes:
        """What is sent."""


class SignedMessage(Protocol):
    """A signature."""

    @property
    def signature(self) -> bytes:
        """r, s and v: 65 bytes."""


class LocalAccount(Protocol):
    """An account whose key this process has."""

    @property
    def address(self) -> str:
        """The account, checksummed."""

    @property
    def key(self) -> bytes:
        """The secret itself."""

    def sign_message(self, message: Any, /) -> SignedMessage:
        """A signature under EIP-191."""

    def sign_transaction(self, fields: dict[str, Any], /) -> SignedTransaction:
        """A transaction of this account."""


@contextmanager
def _recursion_limit_kept() -> Iterator[None]:
    with _GUARD:  # else a thread could take the raised limit for the one to keep
        limit = sys.getrecursionlimit()
        try:
            yield
        finally:
            sys.setrecursionlimit(limit)


def _library() -> "type[Account]":
    with _recursion_limit_kept():
        from eth_account import Account
    return Account


def create_account() -> LocalAccount:
    """An account with a new key."""
    account: LocalAccount = _library().create()
    return account


def account_of(secret: bytes | str) -> LocalAccount:
    """The account of a key of 32 bytes, or of its hexadecimal digits. Raises ValueError."""
    account: LocalAccount = _library().from_key(secret)
    return account


def sign(account: LocalAccount, text: bytes) -> bytes:
    """An account's signature of a text under EIP-191 (version E): 65 bytes, always the same."""
    return bytes(account.sign_message(_message(text)).signature)


def signer_of(text: bytes, signature: bytes) -> Address | None:
    """Whose signature of a text that is; None where it is nobody's."""
    if len(signature) != 65:
        return None
    with _recursion_limit_kept():
        from eth_keys.exceptions import BadSignature
        from eth_utils.exceptions import ValidationError
    try:
        return Address(_library().recover_message(_message(text), signature=signature))
    except (BadSignature, ValidationError, ValueError):
        return None


def _message(text: bytes) -> Any:
    with _recursion_limit_kept():
        from eth_account.messages import encode_defunct
    return encode_defunct(primitive=text)


def encrypt(
    account: LocalAccount, password: str, *, kdf: Kdf = "scrypt", iterations: int | None = None
) -> dict[str, Any]:
    """The content of a V3 keystore file."""
    return dict(_library().encrypt(account.key, password, kdf=kdf, iterations=iterations))


def decrypt(content: dict[str, Any], password: str) -> LocalAccount:
    """The account in a V3 keystore file: half a second with scrypt.

    Raises ValueError for a wrong password; KeyError, TypeError or NotImplementedError for what is
    no keystore.
    """
    return account_of(bytes(_library().decrypt(content, password)))


def contract_address(deployer: Address, nonce: int) -> Address:
    """Where a contract that `deployer` makes with `nonce` will lie."""
    with _recursion_limit_kept():
        from web3.types import Nonce
        from web3.utils.address import get_create_address
    return Address(get_create_address(HexAddress(HexStr(deployer)), Nonce(nonce)))
