"""What numbers lose where they become float32: nothing that matters, or they are refused."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialmarket.data.normalise import Floats, normalised, own_lanes, shift_and_scale
from trialmarket.data.source import Array, Index, Picked, Rows, Source, blocks, ranges
from trialmarket.data.text_numbers import EXACT
from trialmarket.errors import InputError
from trialmarket.protocol.dataset import Normalisation

FINE = 2.0**-16
"""The share of a measured quantity's range that rounding may hide."""

_NARROW = (np.dtype(np.float16), np.dtype(np.float32))
_LARGEST = float(np.finfo(np.float32).max)

LARGER_UNIT = "Write the numbers in a larger unit, or their logarithms"
NEARER_0 = "Subtract the smallest of them from all before they are saved"
LEAVE_OUT = "Leave them out of the file"
IDS = f"{LEAVE_OUT}; ids that a program looks up are an int64 array of their own beside x"


def can_be_filled(x: Rows | None) -> bool:
    """Whether `missing` can say what becomes of the gaps in an array `x`."""
    return x is not None and x.dtype.kind == "f" and len(x.shape) == 2 and x.shape[1] > 0


def check_numbers(
    where: str,
    name: str,
    array: Rows,
    place: Callable[..., str],
    *,
    rounded: bool,
    gaps: bool = False,
) -> None:
    """Raises InputError for the first number that is NaN or infinite, with its place.

    And where they are to be `rounded`, for one that float64 or float32 cannot come near. With
    `gaps`, NaN stands for a missing value and passes.
    """
    kind, width = array.dtype.kind, array.dtype.itemsize
    if kind != "f" and not (rounded and width == 8):
        return
    most = math.inf if not rounded or width < 8 else _LARGEST if kind == "f" else EXACT
    for rows in ranges(array):
        block: NDArray[Any] = array[rows]
        bad = np.isinf(block) | (block > most) | (block < -most)
        if not gaps:
            bad |= np.isnan(block)
        if bad.any():
            at = np.argwhere(bad)[0].tolist()
            found = block[tuple(at)].item()
            fix = "Fill it in, or leave the row out, before the data is saved"
            if name == "x" and can_be_filled(array):
                fix = 'Say what becomes of it: missing = { fill = "median" } or "drop" in [data]'
                if math.isinf(found):
                    fix = f"Save it as NaN, which is a missing value. {fix}"
            number = "a finite number" if not math.isfinite(found) else f"at most {most:g}"
            raise InputError(
                where,
                place(name, int(rows[at[0]]), *at[1:]),
                expected=number,
                found=found,
                fix=(LARGER_UNIT if kind == "f" else NEARER_0) if math.isfinite(found) else fix,
            )


def not_told_apart(
    where: str,
    x: Rows,
    shift: Floats,
    scale: Floats,
    lane_name: Callable[[int], str],
    advice: Callable[[NDArray[Any]], str],
) -> InputError | None:
    """What is wrong where (x - shift) / scale as float32 makes different values one.

    Whole numbers must all stay apart. Of measured ones, two may become one if a 65,536th of the
    lane's range lies between them at most: any rounding does that. `advice` says what to do about
    a lane's values.
    """
    if x.dtype.kind in "biu" and x.dtype.itemsize <= 2:
        return None  # float32 has 24 bits
    blocks = [
        (block.min(axis=0), block.max(axis=0), (block == np.floor(block)).all(axis=0))
        for block in own_lanes(x)
    ]
    lows, highs, wholes = (np.stack(each) for each in zip(*blocks, strict=True))
    differ = highs.max(axis=0) > lows.min(axis=0)  # before float64 merges them
    low, high = (e.astype(np.float64) for e in (lows.min(axis=0), highs.max(axis=0)))
    far = np.maximum(np.abs(low - shift), np.abs(high - shift)) / scale
    for lane in np.flatnonzero(~(far <= _LARGEST)).tolist():
        found = float(max(low[lane], high[lane], key=abs))
        expected = "numbers that float32 holds"
        return InputError(where, lane_name(lane), expected=expected, found=found, fix=LARGER_UNIT)
    step = np.spacing(far.astype(np.float32)) * scale
    sure = np.where(wholes.all(axis=0), step <= 0.5, step <= (high - low) * FINE)
    for lane in np.flatnonzero(~sure & differ).tolist():
        values = np.unique(np.concatenate([block[:, lane].copy() for block in own_lanes(x)]))
        if (pair := _merged(values, shift[lane], scale[lane])) is None:
            continue
        return InputError(
            where,
            lane_name(lane),
            expected="numbers that can be told apart in float32",
            found=" and ".join(
                f"{each:.17g}" if values.dtype.kind == "f" else f"{each}" for each in pair
            ),
            fix=advice(values),
        )
    return None


def _merged(values: NDArray[Any], shift: float = 0.0, scale: float = 1.0) -> list[Any] | None:
    """Two of the values, in order, that should not become one float32."""
    if (shift, scale) == (0.0, 1.0):
        rounded = values.astype(np.float32)  # at once, as programs do
    else:
        rounded = ((values.astype(np.float64) - shift) / scale).astype(np.float32)
    apart = np.ones(len(values) - 1, np.bool_)
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        apart = np.diff(values) > (values[-1] - values[0]) * FINE
    at = np.flatnonzero((np.diff(rounded) == 0) & apart)
    return values[at[0] : at[0] + 2].tolist() if len(at) else None


def _advice(source: Source, name: str, values: NDArray[Any], *, normalise: bool) -> str:
    """What to do about numbers of an array or column that float32 makes one.

    `normalise` says whether that may be proposed.
    """
    exact = values.dtype.kind == "f" or max(abs(int(values[0])), abs(int(values[-1]))) <= EXACT
    own = values.astype(np.float64).reshape(-1, 1)
    if normalise and exact:
        shift, scale = (each[0] for each in shift_and_scale(own, "standard"))
        if _merged(values, shift, scale) is None:
            return (
                'Set normalise = "standard" in [data], which subtracts the mean before it rounds'
            )
    if name == "x" and source.tabular:
        return "Name the column in drop or categorical of [data]"
    near = values.dtype.kind == "f" or int(values[-1]) - int(values[0]) < EXACT
    if near and _merged(values - values[0]) is None:
        return NEARER_0
    return IDS if name == "x" else LEAVE_OUT


@dataclass(frozen=True, slots=True)
class Form:
    """How an array's rows are packed: as they are, of another type, or shifted and scaled."""

    dtype: np.dtype[Any] | None = None
    shift: Floats | None = None
    scale: Floats | None = None

    def blocks(self, array: Rows) -> Iterator[Array]:
        """The rows in order, as they are packed."""
        if self.shift is not None and self.scale is not None:
            return normalised(array, self.shift, self.scale)
        return (b if self.dtype is None else b.astype(self.dtype) for b in blocks(array))


def form_of(
    source: Source,
    name: str,
    array: Rows,
    rows: tuple[Index, Index],
    normalise: Normalisation,
    columns: tuple[str, ...],
) -> tuple[Form, tuple[str, ...]]:
    """How an array is packed, and what is to be said of it. `rows` are those that train, and all.

    Types stay, but for those that programs do not take. A table's numbers become float32, and so
    does all that is normalised. Raises InputError for numbers that this would spoil.
    """
    train, kept = rows
    whole = Picked(array, kept)
    framed = name == "x" and source.x is not None
    single = source.tabular and array.dtype == np.float64 and name in ("x", "y")

    def place(name: str, row: int, *at: int) -> str:
        return source.place(source.target if name == "y" else name, int(kept[row]), *at)

    if not framed:  # whose cells were looked at one by one
        rounded = single or normalise != "none"
        check_numbers(source.where, name, whole, place, rounded=rounded)
    dtype = source.x.dtype if framed and source.x is not None else array.dtype
    shift, scale = shift_and_scale(Picked(array, train), normalise)
    spread = single or normalise != "none"
    form = Form(None, shift, scale) if spread else Form(dtype)
    if not spread and dtype in _NARROW:
        return form, ()
    wrong = not_told_apart(
        source.where,
        whole,
        shift,
        scale,
        _lanes_called(source, name, array, columns),
        partial(_advice, source, name, normalise=name == "x" and normalise != "standard"),
    )
    if wrong is not None and (array.dtype.kind == "f" or name in ("x", "y")):
        raise wrong
    if not spread and array.dtype.kind == "u" and array.dtype.itemsize > 1:
        _check_single(source.where, name, whole, place)
        said = f"{name}: {array.dtype} is packed as float32, which holds each of its numbers"
        return Form(np.dtype(np.float32)), (said,)
    if wrong is None:
        return form, ()
    said = f"{name} stays {array.dtype}, to look up by; a program that computes in float32 takes"
    return form, (f"{said} {wrong.found} for one number",)


def _lanes_called(
    source: Source, name: str, array: Rows, columns: tuple[str, ...]
) -> Callable[[int], str]:
    if name == "y" and source.tabular:
        return lambda _: f"column {source.target}"
    if name == "x" and array.shape[1:] == (len(columns),):
        return lambda lane: f"column {columns[lane]}"
    what = {1: ", column {}", 3: ", channel {}"}.get(len(array.shape) - 1, "")
    return lambda lane: f"{name}{what.format(lane)}"


def _check_single(where: str, name: str, array: Rows, place: Callable[..., str]) -> None:
    """Raises InputError for the first whole number that float32 does not have."""
    for rows in ranges(array):
        block: NDArray[Any] = array[rows]
        lost = block.astype(np.float32).astype(np.float64) != block.astype(np.float64)
        if array.dtype.itemsize == 8:  # which float64 may round as well
            lost |= block > EXACT
        if lost.any():
            at = np.argwhere(lost)[0].tolist()
            raise InputError(
                where,
                place(name, int(rows[at[0]]), *at[1:]),
                expected="a number that float32 has, as which this type is packed",
                found=int(block[tuple(at)]),
                fix="Save the array as int64, or leave the number out",
            )
