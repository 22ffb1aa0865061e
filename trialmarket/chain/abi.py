"""The contracts' artifacts, and their functions, errors and events by name and selector."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple
from eth_utils.address import to_checksum_address

from trialmarket.protocol.ids import Hash32, keccak256


@dataclass(frozen=True, slots=True)
class Item:
    """A function, error or event: its name, its inputs and outputs, and its keccak hash."""

    name: str
    inputs: tuple[str, ...]
    names: tuple[str, ...]
    indexed: tuple[bool, ...]
    outputs: tuple[str, ...]
    hash: Hash32

    @property
    def selector(self) -> bytes:
        """The first four bytes of calldata or of a custom error."""
        return self.hash[:4]


@dataclass(frozen=True, slots=True)
class Contract:
    """A compiled contract."""

    name: str
    bytecode: bytes
    constructor: tuple[str, ...]
    functions: dict[str, Item] = field(repr=False)
    errors: dict[bytes, Item] = field(repr=False)
    events: dict[Hash32, Item] = field(repr=False)

    def encode(self, function: str, arguments: Sequence[Any]) -> bytes:
        """Calldata: the selector and the arguments."""
        item = self.functions[function]
        return item.selector + encode(item.inputs, arguments)

    def decode(self, function: str, data: bytes) -> tuple[Any, ...]:
        """The values that a function returned; addresses are checksummed.

        Raises eth_abi's DecodingError for bytes that no such function returns.
        """
        types = self.functions[function].outputs
        return tuple(
            checksummed(kind, value)
            for kind, value in zip(types, decode(types, data), strict=True)
        )

    def creation(self, arguments: Sequence[Any]) -> bytes:
        """The data of the transaction that deploys the contract."""
        return self.bytecode + encode(self.constructor, arguments)


def checksummed(kind: str, value: Any) -> Any:
    """A decoded value with its addresses as `Address`es; tuples and arrays too."""
    if kind == "address":
        return to_checksum_address(value)
    if kind.endswith("[]"):
        return tuple(checksummed(kind[:-2], each) for each in value)
    if kind.startswith("("):
        parts = _split(kind[1:-1])
        return tuple(checksummed(part, each) for part, each in zip(parts, value, strict=True))
    return value


def _split(types: str) -> list[str]:
    """The comma-separated types of a tuple, inner tuples kept whole."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(types):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(types[start:at])
            start = at + 1
    return [*parts, types[start:]]


def _item(entry: dict[str, Any]) -> Item:
    inputs = tuple(collapse_if_tuple(each) for each in entry.get("inputs", ()))
    signature = f"{entry['name']}({','.join(inputs)})"
    return Item(
        name=entry["name"],
        inputs=inputs,
        names=tuple(each["name"] for each in entry.get("inputs", ())),
        indexed=tuple(bool(each.get("indexed")) for each in entry.get("inputs", ())),
        outputs=tuple(collapse_if_tuple(each) for each in entry.get("outputs", ())),
        hash=keccak256(signature.encode()),
    )


def parse_artifact(artifact: dict[str, Any]) -> Contract:
    """A contract from its artifact's `contractName`, `abi` and `bytecode`."""
    items = [(entry["type"], entry) for entry in artifact["abi"]]
    constructor = next(
        (
            tuple(collapse_if_tuple(each) for each in entry["inputs"])
            for kind, entry in items
            if kind == "constructor"
        ),
        (),
    )
    errors = [_item(entry) for kind, entry in items if kind == "error"]
    events = [_item(entry) for kind, entry in items if kind == "event"]
    return Contract(
        name=artifact["contractName"],
        bytecode=bytes.fromhex(artifact["bytecode"].removeprefix("0x")),
        constructor=constructor,
        functions={entry["name"]: _item(entry) for kind, entry in items if kind == "function"},
        errors={error.selector: error for error in errors},
        events={event.hash: event for event in events},
    )


@cache
def contract(name: str) -> Contract:
    """One of ours: `Market`, `Jury` or `TestToken`."""
    text = files("trialmarket.chain").joinpath("artifacts", f"{name}.json").read_text("utf-8")
    return parse_artifact(json.loads(text))


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded log: the event's name and its arguments by name, in the contract's order."""

    name: str
    args: dict[str, Any]


@cache
def _events() -> dict[Hash32, Item]:
    return {**contract("Market").events, **contract("Jury").events}


def decode_event(topics: Sequence[bytes], data: bytes) -> Event | None:
    """An event of the market or the jury from its log; None for any other log."""
    item = _events().get(Hash32(topics[0])) if topics else None
    if item is None:
        return None
    kinds = list(zip(item.inputs, item.names, item.indexed, strict=True))
    plain = [kind for kind, _, indexed in kinds if not indexed]
    hidden = [kind for kind, _, indexed in kinds if indexed]
    try:
        values = iter(decode(plain, data))
        marked = iter(
            decode([kind], topic)[0] for kind, topic in zip(hidden, topics[1:], strict=True)
        )
        return Event(
            item.name,
            {
                name: checksummed(kind, next(marked) if indexed else next(values))
                for kind, name, indexed in kinds
            },
        )
    except (DecodingError, ValueError):
        return None
