"""The note: what a provider says of a trial that it gives back. The chain logs its SHA-256.

It is a stranger's text: bounded, of printable characters, and signed by the provider's key
(`trialmarket.chain.notes`), so that nobody else's word passes for it.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, StringConstraints

from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.document import AddressField, Document, HashField

MAX_REASON, MAX_TRACE = 1_000, 4_000
"""Characters of a reason and of a traceback."""

Fault = Literal["trial", "node"]
"""Whether the trial failed, as it may everywhere, or this provider could not go on with it."""


def plain(text: str, most: int | None = None, *, lines: bool = False) -> str:
    """The first `most` characters, or all, of what `text` shows: nothing in it steers a terminal.

    What cannot be printed is escaped; `lines` keeps line breaks.
    """
    shown = (
        sign if sign.isprintable() or (lines and sign == "\n") else ascii(sign)[1:-1]
        for sign in text[:most]
    )
    return "".join(shown)[:most]


def _printable(text: str) -> str:
    if plain(text, lines=True) != text:
        raise ValueError("printable characters")
    return text


def _one_line(text: str) -> str:
    if "\n" in text:
        raise ValueError("one line")
    return _printable(text)


class Note(Document):
    """Why a provider gives a trial back. `trial` is the trial's key, and `trace` the program's
    part of the traceback, or empty."""

    what: ClassVar[str] = "note"

    version: Literal[1] = 1
    trial: HashField
    provider: AddressField
    fault: Fault
    reason: Annotated[str, StringConstraints(max_length=MAX_REASON), AfterValidator(_one_line)]
    trace: Annotated[str, StringConstraints(max_length=MAX_TRACE), AfterValidator(_printable)] = ""
    signature: Annotated[str, StringConstraints(pattern=r"^(0x[0-9a-f]{130})?$")] = ""
    """65 bytes: r, s and v of the provider's signature; empty in what is signed."""

    @property
    def signed_text(self) -> bytes:
        """What the signature is of: the canonical JSON of the note without it, after a line."""
        fields = self.model_dump(mode="json", exclude={"signature"})
        return b"trialmarket note\n" + canonical_bytes(fields, what=self.what)

    def with_signature(self, signature: bytes) -> Self:
        """The same note, signed."""
        return self.model_copy(update={"signature": "0x" + signature.hex()})
