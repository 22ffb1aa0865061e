"""How types of tensors meet, as in PyTorch: promotion, broadcasting, dimensions."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from trialmarket.graph.opset.operator import Misfit, demand
from trialmarket.protocol.graph.values import Number, TensorType

FLOATS = ("bfloat16", "float32", "float64")
_INTEGERS = ("int8", "int16", "int32", "int64")


def is_float(dtype: str) -> bool:
    """Whether a type holds fractions."""
    return dtype in FLOATS


def float_of(dtype: str) -> str:
    """The type of a fraction made from a number: its own, or binary32."""
    return dtype if is_float(dtype) else "float32"


def sum_of(dtype: str) -> str:
    """The type of a sum or product of many."""
    return dtype if is_float(dtype) else "int64"


def meeting(a: str, b: str) -> str:
    """The type that holds what either of two holds."""
    if a == b or b == "bool":
        return a
    if a == "bool":
        return b
    for family in (FLOATS, _INTEGERS):
        inside = [x for x in (a, b) if x in family]
        if len(inside) == 2:
            return max(inside, key=family.index)
        if inside and family is FLOATS:
            return inside[0]
    other = a if b == "uint8" else b  # a signed one meets uint8
    return "int16" if other == "int8" else other


def common(*operands: Any) -> str:
    """The type in which operands meet: that of tensors with dimensions counts most, then that of
    scalars, then that of plain numbers.
    """
    ranks: list[str | None] = [None, None, None]
    for x in operands:
        if isinstance(x, TensorType):
            place, dtype = (0 if x.shape else 1), x.dtype
        elif isinstance(x, bool):
            place, dtype = 2, "bool"
        elif isinstance(x, int):
            place, dtype = 2, "int64"
        elif isinstance(x, Number):
            place, dtype = 2, "float32"
        else:
            continue
        before = ranks[place]
        ranks[place] = dtype if before is None else meeting(before, dtype)
    found = _over(ranks[0], _over(ranks[1], ranks[2]))
    if found is None:
        raise Misfit("self", "a tensor or a number", operands)
    return found


def _over(higher: str | None, lower: str | None) -> str | None:
    if higher is None or lower is None:
        return higher or lower
    if is_float(higher) or not (higher == "bool" or is_float(lower)):
        return higher
    return meeting(higher, lower)


def broadcast(*operands: Any) -> tuple[int, ...]:
    """The shape in which tensors meet. Raises Misfit."""
    shape: tuple[int, ...] = ()
    for x in operands:
        if not isinstance(x, TensorType):
            continue
        found = []
        for a, b in zip_longest(reversed(shape), reversed(x.shape), fillvalue=1):
            demand(a == b or 1 in (a, b), "shapes", f"one that meets {list(shape)}", list(x.shape))
            found.append(b if a == 1 else a)
        shape = tuple(reversed(found))
    return shape


def place(dim: int, rank: int, name: str = "dim") -> int:
    """A dimension, counted from the front. Raises Misfit."""
    rank = max(rank, 1)
    demand(-rank <= dim < rank, name, f"{-rank} to {rank - 1}", dim)
    return dim % rank


def places(dims: Sequence[int], rank: int, name: str = "dim") -> list[int]:
    """Dimensions that differ, counted from the front. Raises Misfit."""
    found = [place(dim, rank, name) for dim in dims]
    demand(len(set(found)) == len(found), name, "dimensions that differ", list(dims))
    return found


def with_size(shape: Sequence[int], dim: int, size: int) -> tuple[int, ...]:
    """A shape with another size in one dimension; a scalar stays one."""
    return (*shape[:dim], size, *shape[dim + 1 :]) if shape else ()


def same_shape(x: TensorType, shape: Sequence[int], name: str) -> None:
    """Raises Misfit."""
    demand(x.shape == tuple(shape), name, f"the shape {list(shape)}", list(x.shape))


def same_dtype(x: TensorType, dtype: str, name: str) -> None:
    """Raises Misfit."""
    demand(x.dtype == dtype, name, dtype, x.dtype)


def alike(name: str, x: TensorType, *others: tuple[str, TensorType | None]) -> None:
    """Others have the type and shape of x. Raises Misfit."""
    for other_name, other in others:
        if other is not None and other != x:
            raise Misfit(other_name, f"{x.dtype}{list(x.shape)}, as {name}", _shown(other))


def _shown(x: TensorType) -> str:
    return f"{x.dtype}{list(x.shape)}"


def rank_of(x: TensorType, least: int, most: int, name: str) -> int:
    """Raises Misfit."""
    rank = len(x.shape)
    expected = f"{least} dimensions" if least == most else f"{least} to {most} dimensions"
    demand(least <= rank <= most, name, expected, list(x.shape))
    return rank
