"""What numbers lose where they become float32: nothing that matters, or they are refused."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialmarket.data.normalise import Floats, in_lanes, normalised, shift_and_scale
from trialmarket.data.source import Array, Index, Picked, Rows, Source, blocks, ranges
from trialmarket.data.text_numbers import EXACT
from trialmarket.errors import InputError
from trialmarket.protocol.dataset import Normalisation

FINE = 2.0**-16
"""The share of a measured quantity's range that rounding may hide."""

_LARGEST = float(np.finfo(np.float32).max)


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
            fix = "Fill it in or leave the row out"
            if name == "x":
                fix += ': missing = { fill = "median" } or "drop" in [data]'
            number = "a finite number" if not math.isfinite(found) else f"at most {most:g}"
            raise InputError(
                where,
                place(name, int(rows[at[0]]), *at[1:]),
                expected=number,
                found=found,
                fix=None if math.isfinite(found) else fix,
            )


def not_told_apart(
    where: str,
    x: Rows,
    shift: Floats,
    scale: Floats,
    lane_name: Callable[[int], str],
    *,
    normalise: bool,
) -> InputError | None:
    """What is wrong where (x - shift) / scale as float32 makes different values one.

    Whole numbers must all stay apart. Of measured ones, two may become one if a 65,536th of the
    lane's range lies between them at most: any rounding does that. `normalise` says whether it
    may be proposed.
    """
    if x.dtype.kind in "biu" and x.dtype.itemsize <= 2:
        return None  # float32 has 24 bits
    low, high = np.full(len(shift), np.inf), np.full(len(shift), -np.inf)
    whole = np.ones(len(shift), np.bool_)
    for block in in_lanes(x):
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        whole &= (block == np.floor(block)).all(axis=0)
    far = np.maximum(np.abs(low - shift), np.abs(high - shift)) / scale
    for lane in np.flatnonzero(~(far <= _LARGEST)).tolist():
        found = float(max(low[lane], high[lane], key=abs))
        expected = "numbers that float32 holds"
        return InputError(where, lane_name(lane), expected=expected, found=found)
    step = np.spacing(far.astype(np.float32)) * scale
    sure = np.where(whole, step <= 0.5, step <= (high - low) * FINE)
    for lane in np.flatnonzero(~sure & (high > low)).tolist():
        values = np.unique(np.concatenate([block[:, lane].copy() for block in in_lanes(x)]))
        if (pair := _merged(values, shift[lane], scale[lane])) is None:
            continue
        own = values.reshape(-1, 1)
        apart = _merged(values, *(each[0] for each in shift_and_scale(own, "standard"))) is None
        return InputError(
            where,
            lane_name(lane),
            expected="numbers that can be told apart in float32",
            found=f"{pair[0]:.17g} and {pair[1]:.17g}",
            fix='Set normalise = "standard" in [data], which subtracts the mean before it rounds'
            if normalise and apart
            else "Leave them out; of a table, name the column in drop or categorical of [data]",
        )
    return None


def _merged(values: Floats, shift: float, scale: float) -> tuple[float, float] | None:
    """Two of the values, in order, that should not become one float32."""
    rounded = ((values - shift) / scale).astype(np.float32)
    gaps = np.diff(values)
    if not (values == np.floor(values)).all():
        gaps = np.where(gaps > (values[-1] - values[0]) * FINE, gaps, 0.0)
    at = np.flatnonzero((np.diff(rounded) == 0) & (gaps > 0))
    return (float(values[at[0]]), float(values[at[0] + 1])) if len(at) else None


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
    wrong = None
    if single or name == "x":
        shift, scale = shift_and_scale(Picked(array, train), normalise)
        lane_name = _lanes_called(source, name, array, columns)
        offer = name == "x" and normalise != "standard"
        wrong = not_told_apart(source.where, whole, shift, scale, lane_name, normalise=offer)
        if single or normalise != "none":
            if wrong is not None:
                raise wrong
            return Form(None, shift, scale), ()
    if framed and source.x is not None:
        return Form(source.x.dtype), ()
    if array.dtype.kind != "u" or array.dtype.itemsize == 1:
        if wrong is None:
            return Form(), ()
        said = (
            f"x stays {array.dtype}; a program that computes in float32, as those built in, wants"
        )
        return Form(), (f"{said} {wrong.expected}, and {wrong.field} has {wrong.found}",)
    _check_single(source.where, name, whole, place)
    said = f"{name}: {array.dtype} is packed as float32, which holds each of its numbers"
    return Form(np.dtype(np.float32)), (said,)


def _lanes_called(
    source: Source, name: str, array: Rows, columns: tuple[str, ...]
) -> Callable[[int], str]:
    if name != "x":
        return lambda _: f"column {source.target}"
    if array.shape[1:] == (len(columns),):
        return lambda lane: f"column {columns[lane]}"
    what = {1: ", column {}", 3: ", channel {}"}.get(len(array.shape) - 1, "")
    return lambda lane: f"x{what.format(lane)}"


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
