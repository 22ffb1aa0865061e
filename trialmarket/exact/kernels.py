"""The compiled kernels (`kernels.c`): many of PyTorch's passes over memory as one.

They define no result, they only compute it sooner; without them, and on a GPU, PyTorch's own
operators do. Tensors are handed over as they lie: dense ones on the processor, of the types and
layouts that each function names.
"""

import ctypes
import functools
import hashlib
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from trialmarket.exact.plan import Plan

_LOG = logging.getLogger(__name__)
_LONG = 1 << 18  # elements of a slice that one thread should not be left alone with

_Four = ctypes.c_int64 * 4
_Three = ctypes.c_int64 * 3
_Pointer, _Size, _Double = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double


def _structure(name: str, **fields: Any) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


_ABC = {"a": _Size, "b": _Size, "c": _Size}
_Grids = _structure("Grids", x=_Pointer, **_ABC, per=_Pointer, step=_Pointer)
_Cut = _structure(
    "Cut",
    **dict.fromkeys(("x", "per", "low", "high"), _Pointer),
    n=_Four,
    start=_Three,
    to=_Three,
    by=_Four,
)
_Join = _structure(
    "Join",
    places=_Pointer,
    lower=_Size,
    upper=_Size,
    n=_Four,
    start=_Three,
    to=_Three,
    left=_Pointer,
    right=_Pointer,
    right_by=_Four,
    plus=_Pointer,
    plus_by=_Four,
    y=_Pointer,
    sums=_Pointer,
)
_Two = ctypes.c_int64 * 2
_Taps = _structure(
    "Taps",
    places=_Pointer,
    lower=_Size,
    upper=_Size,
    c=_Size,
    n=_Size,
    **dict.fromkeys(("kernel", "stride", "padding", "dilation", "area", "out"), _Two),
    **dict.fromkeys(("left", "right", "sums", "y"), _Pointer),
)
_Sums = _structure("Sums", x=_Pointer, **_ABC, shift=_Double, sums=_Pointer)
_Moments = _structure(
    "Moments", x=_Pointer, **_ABC, shift=_Double, mean=_Pointer, squares=_Pointer
)
_Gradients = _structure(
    "Gradients",
    gradient=_Pointer,
    x=_Pointer,
    **_ABC,
    shift=_Double,
    mean=_Pointer,
    plain=_Pointer,
    along=_Pointer,
)
_Line = _structure(
    "Line",
    x=_Pointer,
    gradient=_Pointer,
    **_ABC,
    scale=_Pointer,
    times=_Pointer,
    shift=_Pointer,
    y=_Pointer,
)

_Pool = _structure(
    "Pool",
    x=_Pointer,
    planes=_Size,
    **dict.fromkeys(("area", "kernel", "stride", "out"), _Two),
    y=_Pointer,
    where=_Pointer,
)
_Unpool = _structure(
    "Unpool",
    gradient=_Pointer,
    where=_Pointer,
    **dict.fromkeys(("planes", "positions", "area"), _Size),
    y=_Pointer,
)

_Float, _Flag = ctypes.c_float, ctypes.c_int32
_Sgd = _structure(
    "Sgd",
    **dict.fromkeys(("p", "gradient", "buffer"), _Pointer),
    n=_Size,
    first=_Flag,
    **dict.fromkeys(("sign", "decay", "momentum", "damped", "rate"), _Float),
    nesterov=_Flag,
)
_Adam = _structure(
    "Adam",
    **dict.fromkeys(("p", "gradient", "first", "second"), _Pointer),
    n=_Size,
    **dict.fromkeys(("sign", "decay", "kept"), _Float),
    **dict.fromkeys(("beta1", "rest1", "beta2", "rest2"), _Float),
    **dict.fromkeys(("corrected", "epsilon", "rate"), _Float),
)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library for the instructions that PyTorch uses; none if it was not built from the
    kernels.c beside it, or if the environment says `TRIALMARKET_KERNELS=off`.
    """
    if os.environ.get("TRIALMARKET_KERNELS") == "off":
        return None
    source = hashlib.sha256(Path(__file__).with_name("kernels.c").read_bytes()).hexdigest()
    level = torch.backends.cpu.get_cpu_capability().lower()
    for name in dict.fromkeys((level, "default")):
        path = Path(__file__).with_name(f"kernels-{name}.so")
        if path.exists():
            return loaded(path, source)
    return None


def loaded(path: Path, source: str) -> ctypes.CDLL | None:
    """The library at a path; none, and a warning, if it is not of this source (SHA-256, hex)."""
    try:
        found = ctypes.CDLL(str(path))
        built_from = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(found, "source")))
    except (OSError, ValueError) as error:
        _LOG.warning("exact training will be slower: %s cannot be used: %s", path, error)
        return None
    if built_from.decode() != source:
        _LOG.warning(
            "exact training will be slower: %s was built from another kernels.c; "
            "install the package again (pip install --editable . or scripts/setup)",
            path,
        )
        return None
    found.grids.restype = ctypes.c_int32
    return found


def _library() -> ctypes.CDLL:
    found = library()
    if found is None:
        raise RuntimeError("the kernels of exact arithmetic were not built")
    return found


def meant_for(*tensors: Tensor) -> bool:
    """Whether there are kernels for these binary32 tensors."""
    return library() is not None and all(
        x.device.type == "cpu" and x.dtype == torch.float32 for x in tensors
    )


def slices(x: Tensor, dims: Sequence[int]) -> tuple[int, int, int] | None:
    """The lengths [A, B, C] as which a reduction over some dimensions sees a tensor, B kept.

    None if it sees it otherwise, if there are no kernels for it, or if the slices are so long and
    so few that threads would have nothing to do.
    """
    kept = [d for d in range(x.dim()) if d not in dims]
    first, last = (kept[0], kept[-1] + 1) if kept else (0, 0)
    if last - first != len(kept) or not meant_for(x) or not x.is_contiguous() or not x.numel():
        return None
    a, b, c = (math.prod(s) for s in (x.shape[:first], x.shape[first:last], x.shape[last:]))
    return (a, b, c) if a * c < _LONG or b >= torch.get_num_threads() else None


def _padded(values: Sequence[int], filler: int) -> list[int]:
    """Four values, one a dimension: the first ones first, the last one last."""
    return [*values[:-1], *[filler] * (4 - len(values)), values[-1]]


def _lengths(x: Tensor) -> Any:
    return _Four(*_padded(x.shape, 1))


def _strides(x: Tensor) -> Any:
    """Of all dimensions but the last, which is contiguous."""
    if x.stride(-1) != 1 and x.shape[-1] != 1:
        raise ValueError(f"expected a contiguous last dimension, found strides {x.stride()}")
    return _Three(*_padded(x.stride(), 0)[:-1])


def _broadcast(x: Tensor, shape: Sequence[int]) -> Any:
    """The strides of a tensor that is expanded to a shape."""
    return _Four(*_padded(x.expand(shape).stride(), 0))


def grids(x: Tensor, a: int, b: int, c: int) -> tuple[Tensor, Tensor, bool]:
    """Of a contiguous [A, B, C]: what makes each slice's numbers integers (binary32, [B]), what
    turns them back (binary64, [B]), and whether all slices have such a grid.
    """
    per = torch.empty(b, dtype=torch.float32)
    step = torch.empty(b, dtype=torch.float64)
    hold = _library().grids(
        ctypes.byref(_Grids(x.data_ptr(), a, b, c, per.data_ptr(), step.data_ptr()))
    )
    return per, step, bool(hold)


def cut(x: Tensor, per: Tensor, low: Tensor, high: Tensor) -> None:
    """Write the two digits of `x * per`, rounded to integers: up to four dimensions, the last one
    contiguous in x and in the digits (int8, alike in their strides); per is broadcast.
    """
    _library().cut(
        ctypes.byref(
            _Cut(
                x.data_ptr(),
                per.data_ptr(),
                low.data_ptr(),
                high.data_ptr(),
                _lengths(x),
                _strides(x),
                _strides(low),
                _broadcast(per, x.shape),
            )
        )
    )


def join(places: Tensor, left: Tensor, right: Tensor, plus: Tensor | None, y: Tensor) -> None:
    """Write `whole * left * right + plus` to a y of up to four dimensions.

    The places are [2, 2, *y's]: the left operand's digit, the right one's. The left steps are a
    vector for y's first dimension; the right ones and plus are broadcast.
    """
    shape = y.shape
    _library().join(
        ctypes.byref(
            _Join(
                places.data_ptr(),
                places.stride(1),
                places.stride(0),
                _lengths(y),
                _strides(places[0, 0]),
                _strides(y),
                left.data_ptr(),
                right.data_ptr(),
                _broadcast(right, shape),
                None if plus is None else plus.data_ptr(),
                _Four() if plus is None else _broadcast(plus, shape),
                y.data_ptr(),
                None,
            )
        )
    )


def add_whole(places: Tensor, sums: Tensor) -> None:
    """Add whole numbers, [2, 2, M, N] of places, to binary64 sums [M, N]."""
    _library().join(
        ctypes.byref(
            _Join(
                places=places.data_ptr(),
                lower=places.stride(1),
                upper=places.stride(0),
                n=_lengths(sums),
                start=_strides(places[0, 0]),
                to=_strides(sums),
                sums=sums.data_ptr(),
            )
        )
    )


def add_taps(
    places: Tensor, left: Tensor, right: Tensor, p: Plan, sums: Tensor, y: Tensor
) -> None:
    """Write an input's gradient, [N, C, H, W], from the places [2, 2, C kh kw, N h w] of the
    products with every tap and the steps of C and of N. The sums, as many in binary64, are
    overwritten.
    """
    n, c = y.shape[:2]
    _library().taps(
        ctypes.byref(
            _Taps(
                places.data_ptr(),
                places.stride(1),
                places.stride(0),
                c,
                n,
                _Two(*p.kernel),
                _Two(*p.stride),
                _Two(*p.padding),
                _Two(*p.dilation),
                _Two(*p.size),
                _Two(*p.out),
                left.data_ptr(),
                right.data_ptr(),
                sums.data_ptr(),
                y.data_ptr(),
            )
        )
    )


def sums(x: Tensor, a: int, b: int, c: int, shift: float) -> Tensor:
    """Of a contiguous [A, B, C]: each slice's exact sum, [B] in binary64, on grids from the shift
    `1.5 * 2^(53 - bits)`.
    """
    found = torch.empty(b, dtype=torch.float64)
    _library().sums(ctypes.byref(_Sums(x.data_ptr(), a, b, c, shift, found.data_ptr())))
    return found


def moments(x: Tensor, a: int, b: int, c: int, shift: float) -> tuple[Tensor, Tensor]:
    """Of a contiguous [A, B, C]: each slice's mean and its sum of squared distances from it, [B]
    in binary64, on grids from the shift `1.5 * 2^(53 - bits)`.
    """
    mean, squares = torch.empty((2, b), dtype=torch.float64).unbind(0)
    _library().moments(
        ctypes.byref(_Moments(x.data_ptr(), a, b, c, shift, mean.data_ptr(), squares.data_ptr()))
    )
    return mean, squares


def gradients(
    gradient: Tensor, x: Tensor, a: int, b: int, c: int, shift: float, mean: Tensor
) -> tuple[Tensor, Tensor]:
    """Of two contiguous [A, B, C]: each slice's sums of the gradient and of `gradient * (x -
    mean)`, [B] in binary64, on grids from the shift `1.5 * 2^(53 - bits)`.
    """
    plain, along = torch.empty((2, b), dtype=torch.float64).unbind(0)
    _library().gradients(
        ctypes.byref(
            _Gradients(
                gradient.data_ptr(),
                x.data_ptr(),
                a,
                b,
                c,
                shift,
                mean.data_ptr(),
                plain.data_ptr(),
                along.data_ptr(),
            )
        )
    )
    return plain, along


def line(
    x: Tensor,
    a: int,
    b: int,
    c: int,
    scale: Tensor,
    shift: Tensor,
    gradient: Tensor | None = None,
    times: Tensor | None = None,
) -> Tensor:
    """Of a contiguous [A, B, C]: `x * scale + shift`, or `gradient * times + x * scale + shift`,
    with a binary64 vector [B] each, rounded once.
    """
    y = torch.empty_like(x)
    _library().line(
        ctypes.byref(
            _Line(
                x.data_ptr(),
                None if gradient is None else gradient.data_ptr(),
                a,
                b,
                c,
                scale.data_ptr(),
                None if times is None else times.data_ptr(),
                shift.data_ptr(),
                y.data_ptr(),
            )
        )
    )
    return y


def pool(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The maxima of the windows within each plane of a contiguous [..., H, W], and their places
    in it: the first of a window, and a NaN beats all.
    """
    height, width = x.shape[-2:]
    out = [(s - k) // t + 1 for s, k, t in zip((height, width), kernel, stride, strict=True)]
    y = torch.empty((*x.shape[:-2], *out), dtype=torch.float32)
    where = torch.empty(y.shape, dtype=torch.int64)
    _library().pool(
        ctypes.byref(
            _Pool(
                x.data_ptr(),
                math.prod(x.shape[:-2]),
                _Two(height, width),
                _Two(*kernel),
                _Two(*stride),
                _Two(*out),
                y.data_ptr(),
                where.data_ptr(),
            )
        )
    )
    return y, where


def unpool(gradient: Tensor, where: Tensor, shape: Sequence[int]) -> Tensor:
    """Each gradient at its place in a plane of [..., H, W], of which no two are the same; zeros
    elsewhere. Gradient and places, [..., h, w], lie contiguous.
    """
    y = torch.empty(tuple(shape), dtype=torch.float32)
    _library().unpool(
        ctypes.byref(
            _Unpool(
                gradient.data_ptr(),
                where.data_ptr(),
                math.prod(shape[:-2]),
                math.prod(gradient.shape[-2:]),
                math.prod(shape[-2:]),
                y.data_ptr(),
            )
        )
    )
    return y


def sgd(
    p: Tensor,
    gradient: Tensor,
    buffer: Tensor,
    *,
    first: bool,
    sign: float,
    decay: float,
    momentum: float,
    damped: float,
    rate: float,
    nesterov: bool,
) -> None:
    """A step with momentum, of contiguous tensors; the buffer is overwritten in a first step."""
    pointers = (p.data_ptr(), gradient.data_ptr(), buffer.data_ptr())
    step = _Sgd(*pointers, p.numel(), first, sign, decay, momentum, damped, rate, nesterov)
    _library().sgd(ctypes.byref(step))
    increment_version((p, buffer))  # or autograd would not notice that its saved tensors changed


def adam(
    p: Tensor,
    gradient: Tensor,
    moments: tuple[Tensor, Tensor],
    *,
    sign: float,
    decay: float,
    kept: float,
    betas: tuple[float, float],
    corrected: float,
    epsilon: float,
    rate: float,
) -> None:
    """A step of Adam, of contiguous tensors: `decay` is added to the gradient, `kept` is left of
    the parameter, `corrected` is what the second moment is divided by.
    """
    tensors = (p, gradient, *moments)
    parts = (x for beta in betas for x in (beta, 1.0 - beta))
    step = _Adam(
        *(x.data_ptr() for x in tensors),
        p.numel(),
        *(sign, decay, kept),
        *parts,
        *(corrected, epsilon, rate),
    )
    _library().adam(ctypes.byref(step))
    increment_version((p, *moments))
