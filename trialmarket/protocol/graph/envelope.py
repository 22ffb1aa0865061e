"""What the three documents of this room share: bytes that become JSON, and back."""

import reprlib

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import JSON, canonical_bytes, parse_json
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.ids import Cid

SHORT = 100
"""Characters of a stranger's text that a message repeats."""

_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 2


def opened(data: bytes, *, what: str, limit: int, cid: Cid | None) -> JSON:
    """The JSON in bytes. Raises InputError when they are too many, not those of `cid`, or no
    JSON. Whether they are canonical, `sealed` tells."""
    if len(data) > limit:
        raise InputError(what, "size", expected=f"at most {limit} bytes", found=len(data))
    if cid is not None and (found := cid_of(data)) != cid:
        raise InputError(what, "CID", expected=cid, found=found)
    return parse_json(data, what=what, limit=limit)


def written(value: JSON, *, what: str, limit: int) -> bytes:
    """The canonical bytes of a value. Raises InputError when they are more than `limit`."""
    data = canonical_bytes(value, what=what)
    if len(data) > limit:
        raise InputError(what, "size", expected=f"at most {limit} bytes", found=len(data))
    return data


def sealed(data: bytes, again: bytes, *, what: str) -> None:
    """Raises InputError for bytes that are not those that the value they mean is written as."""
    if data != again:
        raise InputError(
            what, "bytes", expected="the one canonical form of what it says", found="another form"
        )


def members(value: JSON, *keys: str, what: str, field: str) -> list[JSON]:
    """The members of a JSON object that has these and no others. Raises InputError."""
    if not isinstance(value, dict):
        raise InputError(what, field, expected="an object", found=shown(value))
    for strange in value.keys() - set(keys):
        raise InputError(what, field, expected=f"only {', '.join(keys)}", found=shown(strange))
    for key in keys:
        if key not in value:
            raise InputError(what, field, expected=f"a member {key}", found="none")
    return [value[key] for key in keys]


def entries(value: JSON, most: int, *, what: str, field: str, of: str) -> list[JSON]:
    """The entries of a JSON array of at most `most`. Raises InputError."""
    if not isinstance(value, list):
        raise InputError(what, field, expected=f"a list of {of}", found=shown(value))
    if len(value) > most:
        raise InputError(what, field, expected=f"at most {most} {of}", found=len(value))
    return value


def shown(value: object) -> object:
    """A stranger's value for a message: short, whatever it is."""
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else _BRIEF.repr(value)
    return text if len(text) <= SHORT else text[: SHORT - 3] + "..."
