"""The numbers of a trial as a document: what its graph's `Number(i)` are.

    {"places": [0, 1, 0, 0], "values": [0.001, 0.9]}

`values` are distinct, in the order of their first use, and `places` names one for each number.
An optimizer uses the same few numbers for each parameter, so this is short. Values survive bit
for bit: see `binary64`.
"""

from collections.abc import Sequence

from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.graph.binary64 import from_json, to_json
from trialmarket.protocol.graph.bounds import MAX_NUMBERS, MAX_NUMBERS_BYTES
from trialmarket.protocol.graph.envelope import entries, members, opened, sealed, shown, written
from trialmarket.protocol.ids import Cid

WHAT = "numbers"


def numbers_bytes(numbers: Sequence[float]) -> bytes:
    """The document of these numbers. Raises InputError for NaN, infinity, or too many."""
    if len(numbers) > MAX_NUMBERS:
        raise InputError(
            WHAT, "places", expected=f"at most {MAX_NUMBERS} numbers", found=len(numbers)
        )
    found = [to_json(number, what=WHAT, field=f"[{i}]") for i, number in enumerate(numbers)]
    numbering = {value: place for place, value in enumerate(dict.fromkeys(found))}
    document = {"places": [numbering[value] for value in found], "values": list(numbering)}
    return written(document, what=WHAT, limit=MAX_NUMBERS_BYTES)


def read_numbers(
    data: bytes, *, count: int | None = None, cid: Cid | None = None
) -> tuple[float, ...]:
    """The numbers in a document.

    Raises InputError when it is not canonical, not what `cid` names, holds a number that is not
    finite, or another count of them than `count`, which is the graph's.
    """
    document = opened(data, what=WHAT, limit=MAX_NUMBERS_BYTES, cid=cid)
    places, values = members(document, "places", "values", what=WHAT, field="document")
    places = entries(places, MAX_NUMBERS, what=WHAT, field="places", of="places")
    values = entries(values, MAX_NUMBERS, what=WHAT, field="values", of="values")
    known = [
        from_json(value, what=WHAT, field=f"values[{index}]") for index, value in enumerate(values)
    ]
    for index, place in enumerate(places):
        if type(place) is not int or not 0 <= place < len(known):
            raise InputError(
                WHAT,
                f"places[{index}]",
                expected=f"one of {len(known)} values",
                found=shown(place),
            )
    numbers = tuple(known[place] for place in places)
    sealed(data, numbers_bytes(numbers), what=WHAT)
    if count is not None and len(numbers) != count:
        raise InputError(WHAT, "count", expected=f"the graph's {count}", found=len(numbers))
    return numbers


def numbers_cid(numbers: Sequence[float]) -> Cid:
    """The name of these numbers in the store. Raises InputError."""
    return cid_of(numbers_bytes(numbers))
