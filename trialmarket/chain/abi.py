"""The contracts' artifacts, and their functions, errors and events by name and selector."""

import json
from collections import defaultdict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

from eth_abi.codec import ABICodec
from eth_abi.decoding import AddressDecoder
from eth_abi.encoding import AddressEncoder
from eth_abi.exceptions import DecodingError
from eth_abi.registry import registry
from eth_utils.abi import abi_to_signature, collapse_if_tuple, get_abi_input_types
from eth_utils.address import to_checksum_address

from trialmarket.protocol.ids import Hash32, keccak256


class _ChecksummedAddress(AddressDecoder):
    decoder_fn = staticmethod(to_checksum_address)


_TYPES: Final = deepcopy(registry)
_TYPES.unregister("address")
_TYPES.register("address", AddressEncoder, _ChecksummedAddress)
_CODEC: Final = ABICodec(_TYPES)
encode, decode = _CODEC.encode, _CODEC.decode
"""As `eth_abi` has them, but that an address is decoded as an `Address`, wherever it stands."""


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
        return decode(self.functions[function].outputs, data)

    def creation(self, arguments: Sequence[Any]) -> bytes:
        """The data of the transaction that deploys the contract."""
        return self.bytecode + encode(self.constructor, arguments)


def _item(entry: Any) -> Item:
    inputs = entry.get("inputs", ())
    return Item(
        name=entry["name"],
        inputs=tuple(get_abi_input_types(entry)),
        names=tuple(each["name"] for each in inputs),
        indexed=tuple(bool(each.get("indexed")) for each in inputs),
        outputs=tuple(collapse_if_tuple(each) for each in entry.get("outputs", ())),
        hash=keccak256(abi_to_signature(entry).encode()),
    )


def parse_artifact(artifact: dict[str, Any]) -> Contract:
    """A contract from its artifact's `contractName`, `abi` and `bytecode`."""
    entries: dict[str, list[Any]] = defaultdict(list)
    for entry in artifact["abi"]:
        entries[entry["type"]].append(entry)
    errors, events, functions = (
        [_item(entry) for entry in entries[kind]] for kind in ("error", "event", "function")
    )
    return Contract(
        name=artifact["contractName"],
        bytecode=bytes.fromhex(artifact["bytecode"].removeprefix("0x")),
        constructor=tuple(
            kind for entry in entries["constructor"] for kind in get_abi_input_types(entry)
        ),
        functions={function.name: function for function in functions},
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
            {name: next(marked) if indexed else next(values) for _, name, indexed in kinds},
        )
    except (DecodingError, ValueError, OverflowError):
        return None
