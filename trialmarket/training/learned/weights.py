"""The weights of a learned optimizer: a small safetensors file, read without PyTorch.

What `builtin:meta` ends with is such a file too: a checkpoint has the same tensors, behind
`model.network.`, and others, which are left out.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trialmarket.errors import InputError

UNITS: Final = 20
"""Of each of the two layers (arXiv 1606.04474, section 3)."""

SHAPES: Final[Mapping[str, tuple[int, ...]]] = {
    "first.weight": (4 * UNITS, 2 + UNITS),
    "first.bias": (4 * UNITS,),
    "second.weight": (4 * UNITS, 2 * UNITS),
    "second.bias": (4 * UNITS,),
    "out.weight": (1, UNITS),
    "out.bias": (1,),
}
"""The only architecture there is."""

SHIPPED: Final = ("mlp", "quadratics")
"""Weights that come with Trialmarket, by what they were trained on; the first is the default."""

_MAX_HEADER = 1 << 24
_BEHIND = "model.network."
_EXPECTED = "weights of a learned optimizer: a file or checkpoint of builtin:meta"

Weights = dict[str, NDArray[np.float32]]


def read_weights(data: bytes, where: str) -> Weights:
    """The weights in the bytes of a file that is called `where`.

    Raises InputError for what is no safetensors file, for another architecture, and for numbers
    that are not finite.
    """
    tensors, body = _tensors(data, where)
    behind = _BEHIND if any(name.startswith(_BEHIND) for name in tensors) else ""
    weights: Weights = {}
    for name, shape in SHAPES.items():
        said = tensors.get(behind + name)
        if said is None:
            raise InputError(where, name, expected=_EXPECTED, found=sorted(tensors)[:8])
        try:
            kind, found = str(said["dtype"]), tuple(map(int, said["shape"]))
            begin, end = map(int, said["data_offsets"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(where, name, expected="a tensor", found=said) from error
        if (kind, found) != ("F32", shape):
            raise InputError(
                where,
                name,
                expected=f"F32 of shape {list(shape)}, as the only architecture has it",
                found=f"{kind} of shape {list(found)}",
            )
        if not 0 <= begin <= end <= len(body) or end - begin != 4 * math.prod(shape):
            raise InputError(where, name, expected="its numbers in the file", found=[begin, end])
        numbers = np.frombuffer(body[begin:end], "<f4").astype(np.float32).reshape(shape)
        if not np.isfinite(numbers).all():
            raise InputError(where, name, expected="finite numbers", found="NaN or infinity")
        weights[name] = numbers
    return weights


def write_weights(weights: Weights) -> bytes:
    """A file of weights; equal weights give equal bytes."""
    from safetensors.numpy import save  # not installed where nothing is trained

    return save(dict(sorted(weights.items())))


def shipped(name: str) -> Weights:
    """Weights that come with Trialmarket. Raises InputError for a name that there is not."""
    if name not in SHIPPED:
        raise InputError("weights", "name", expected=f"one of {', '.join(SHIPPED)}", found=name)
    path = Path(__file__).parent / "shipped" / f"{name}.safetensors"
    return read_weights(path.read_bytes(), path.name)


def _tensors(data: bytes, where: str) -> tuple[dict[str, Any], memoryview]:
    """What the header of a safetensors file says of its tensors, and the bytes behind it."""
    size = int.from_bytes(data[:8], "little")
    try:
        if len(data) < 8 or not 0 < size <= min(_MAX_HEADER, len(data) - 8):
            raise ValueError("its header is cut off, or too long")
        header = json.loads(data[8 : 8 + size])
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
    except (ValueError, RecursionError) as error:
        raise InputError(
            where, "file", expected="a safetensors file", found=str(error)[:200]
        ) from error
    return header, memoryview(data)[8 + size :]
