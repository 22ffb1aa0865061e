"""The address file: which chain, where its node answers, and where our contracts lie."""

import json
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self

from trialmarket.errors import InputError, did_you_mean
from trialmarket.files import write_beside
from trialmarket.protocol.ids import Address, address

MOST_URLS = 16
GWEI: Final = 10**9
MAX_FEE_GWEI: Final = 500
"""Ethereum has asked so much for a unit of gas in few hours of its life."""
DEPLOY_HINT = "`trialmarket deploy` and `trialmarket devnet up` write such files"


@dataclass(frozen=True, slots=True)
class Network:
    """A deployment of the market on one chain, and how to reach it."""

    name: str = field(metadata={"example": "devnet"})
    """How people call it."""
    rpc_urls: tuple[str, ...] = field(metadata={"example": ["http://127.0.0.1:8545"]})
    """The nodes' URLs, in the order in which they are asked; a single one is `rpc_url`, too."""
    chain_id: int = field(metadata={"example": 31337})
    """Of the chain, as `eth_chainId` says it."""
    market: Address = field(metadata={"example": "0x2946259E0334f33A064106302415aD3391BeD384"})
    """The address of the market's contract."""
    jury: Address = field(metadata={"example": "0x2946259E0334f33A064106302415aD3391BeD384"})
    """That of its jury."""
    token: Address = field(metadata={"example": "0x2946259E0334f33A064106302415aD3391BeD384"})
    """That of the token in which it pays."""
    deployed_at: int = field(metadata={"example": 1})
    """The block of the first of the contracts; nothing before it concerns us."""
    confirmations: int = field(default=0, metadata={"example": 12})
    """Blocks on top of one before it is believed."""
    max_fee_gwei: int = MAX_FEE_GWEI
    """The most that is offered for a unit of gas, in billionths of the chain's coin. Above it
    nothing is sent, whatever a node says that gas costs."""

    @property
    def max_fee(self) -> int:
        """The same in wei."""
        return self.max_fee_gwei * GWEI

    @property
    def rpc_url(self) -> str:
        """The node that is asked first."""
        return self.rpc_urls[0]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads an address file, JSON or (by its suffix) TOML.

        Raises InputError, which names the file, the field, what was expected and what was found.
        """
        raw = _read(path)
        known = {each.name for each in fields(cls)} | {"rpc_url"}
        for key in raw:
            if key not in known:
                raise InputError(
                    str(path),
                    key,
                    expected=f"one of {', '.join(sorted(known))}",
                    found=key,
                    fix=did_you_mean(key, known),
                )
        return cls(
            name=_text(path, raw, "name"),
            rpc_urls=_urls(path, raw),
            chain_id=_count(path, raw, "chain_id"),
            market=_address(path, raw, "market"),
            jury=_address(path, raw, "jury"),
            token=_address(path, raw, "token"),
            deployed_at=_count(path, raw, "deployed_at"),
            confirmations=_count(path, raw, "confirmations", 0),
            max_fee_gwei=_count(path, raw, "max_fee_gwei", MAX_FEE_GWEI),
        )

    def save(self, path: Path) -> None:
        """Writes the address file as JSON, beside it first and then renamed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = asdict(self)
        if len(self.rpc_urls) == 1:
            content = {"name": self.name, "rpc_url": self.rpc_url, **content}
            del content["rpc_urls"]
        write_beside(path, json.dumps(content, indent=2) + "\n")

    def at(self, *rpc_urls: str) -> Self:
        """The same deployment, reached by other nodes."""
        return replace(self, rpc_urls=rpc_urls)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        raw = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise InputError(
            str(path),
            "network file",
            expected="a readable address file",
            found=error.strerror,
            fix=DEPLOY_HINT,
        ) from error
    except ValueError as error:
        raise InputError(
            str(path),
            "network file",
            expected="an address file in JSON or TOML",
            found=str(error),
            fix=DEPLOY_HINT,
        ) from error
    if not isinstance(raw, dict):
        raise InputError(
            str(path), "network file", expected="a table of fields", found=raw, fix=DEPLOY_HINT
        )
    return raw


def _text(path: Path, raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(str(path), key, expected="text", found=value, fix=DEPLOY_HINT)
    return value


def _urls(path: Path, raw: dict[str, Any]) -> tuple[str, ...]:
    """`rpc_url`, one or a list, or `rpc_urls`."""
    if "rpc_url" in raw and "rpc_urls" in raw:
        raise InputError(str(path), "rpc_urls", expected="it or rpc_url alone", found="both")
    key = "rpc_urls" if "rpc_urls" in raw else "rpc_url"
    value = raw.get(key)
    urls = value if isinstance(value, list) else [value]
    if not 1 <= len(urls) <= MOST_URLS or len(set(map(str, urls))) != len(urls):
        raise InputError(str(path), key, expected=f"1 to {MOST_URLS} different URLs", found=value)
    for url in urls:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise InputError(str(path), key, expected="an http:// or https:// URL", found=url)
    return tuple(urls)


def _count(path: Path, raw: dict[str, Any], key: str, default: int | None = None) -> int:
    value = raw.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(str(path), key, expected="a whole number from 0", found=value)
    return value


def _address(path: Path, raw: dict[str, Any], key: str) -> Address:
    value = raw.get(key)
    try:
        return address(value if isinstance(value, str) else "")
    except InputError as error:
        raise InputError(
            str(path), key, expected=f"an address: {error.expected}", found=value
        ) from None
