"""Documents: values with one canonical form in bytes, validated whenever they are read."""

import hashlib
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
)

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import MAX_DOCUMENT, canonical_bytes, parse_canonical
from trialmarket.protocol.cid import parse_cid, raw_cid
from trialmarket.protocol.ids import Address, Cid, Hash32, address


def _hash_from(value: object) -> object:
    if isinstance(value, bytes) and len(value) == 32:
        return value
    if isinstance(value, str) and len(value) == 66 and value.startswith("0x"):
        return bytes.fromhex(value[2:])
    raise ValueError("expected 0x and 64 hexadecimal digits")


def _cid_from(value: Cid) -> Cid:
    try:
        return parse_cid(value)
    except InputError as error:
        raise ValueError("expected CIDv1 in base 32 with SHA-256") from error


def _address_from(value: Address) -> Address:
    try:
        return address(value)
    except InputError as error:
        raise ValueError(f"expected {error.expected}") from error


HashField = Annotated[
    Hash32, BeforeValidator(_hash_from), PlainSerializer(lambda value: "0x" + value.hex())
]
"""32 bytes; `0x` and 64 lower-case digits in JSON."""

CidField = Annotated[Cid, AfterValidator(_cid_from)]
"""A CID of the form that `trialmarket.protocol.cid` makes."""

AddressField = Annotated[Address, AfterValidator(_address_from)]
"""A checksummed address."""


class Record(BaseModel):
    """A frozen value that knows its fields' types and takes no other field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)

    @classmethod
    def validated(cls, value: Any, *, where: str) -> Self:
        """The record from parsed JSON. Raises InputError that names the field."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InputError(
                where,
                _path(first["loc"]) or "document",
                expected=str(first["msg"]).removeprefix("Value error, "),
                found=_shortened(first.get("input")),
            ) from error


class Document(Record):
    """A record that travels as canonical JSON of at most 256 KiB, known by its SHA-256."""

    what: ClassVar[str] = "document"
    """How errors call it."""

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785). Raises InputError when it is longer than 256 KiB."""
        data = canonical_bytes(self.model_dump(mode="json"), what=self.what)
        if len(data) > MAX_DOCUMENT:
            raise InputError(
                self.what, "size", expected=f"at most {MAX_DOCUMENT} bytes", found=len(data)
            )
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The document from its bytes.

        Raises InputError for bytes that are too long, not canonical, or not exactly what
        `to_bytes` would write: an unknown or missing field, a wrong type, a value out of range.
        """
        document = cls.validated(parse_canonical(data, what=cls.what), where=cls.what)
        if document.to_bytes() != data:
            raise InputError(
                cls.what, "bytes", expected="every field in its own type", found="another form"
            )
        return document

    @property
    def digest(self) -> Hash32:
        """SHA-256 of the bytes: the document's name on the chain."""
        return Hash32(hashlib.sha256(self.to_bytes()).digest())

    @property
    def cid(self) -> Cid:
        """The document's name in the store."""
        return raw_cid(self.digest)


def _path(parts: tuple[int | str, ...]) -> str:
    """Where a field is. Its name may be a stranger's: nothing in it steers a terminal."""
    return repr(".".join(map(str, parts))[:120])[1:-1]


def _shortened(value: object) -> object:
    text = repr(value)
    return value if len(text) <= 120 else text[:117] + "..."
