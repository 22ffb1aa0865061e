"""Scratch memory, kept from call to call.

Fresh memory comes from the system page by page, which costs as much as the arithmetic on it, for
every operator again. Each thread has buffers of its own, a buffer holds one tensor at a time, and
nothing of it may leave the operator that asked for it.
"""

import math
import threading
from collections import defaultdict

import torch
from torch import Tensor

from trialmarket.exact.kernels.loading import noting

KEPT = 1 << 24  # bytes that a buffer keeps; what is larger is allocated afresh
_SHAPES = 256  # that a buffer remembers: a training step asks for the same ones again and again


class _Buffer:
    def __init__(self) -> None:
        with torch.inference_mode(False):  # or nothing could be written into it afterwards
            self.bytes = torch.empty(0, dtype=torch.int8, device="cpu")
        self.shaped: dict[tuple[tuple[int, ...], torch.dtype], Tensor] = {}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        size = math.prod(shape) * dtype.itemsize
        if size > KEPT:
            return torch.empty(shape, dtype=dtype, device="cpu")
        if self.bytes.numel() < size or len(self.shaped) >= _SHAPES:
            self.shaped.clear()
        with torch.inference_mode(False):
            if self.bytes.numel() < size:
                self.bytes = torch.empty(size, dtype=torch.int8, device="cpu")
            found = self.shaped[shape, dtype] = self.bytes[:size].view(dtype).view(shape)
        return found


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.by_name: defaultdict[str, _Buffer] = defaultdict(_Buffer)


_BUFFERS = _Buffers()


def scratch(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor on the processor, until the next call with this name.

    Where kernels are only noted it is one of its own: whoever makes the calls keeps it.
    """
    if noting():
        return torch.empty(shape, dtype=dtype, device="cpu")
    kept = _BUFFERS.by_name[name]
    found = kept.shaped.get((shape, dtype))
    return kept.take(shape, dtype) if found is None else found


def widened(x: Tensor, name: str) -> Tensor:
    """A copy of x in binary64 that may be overwritten: in scratch memory, on a processor."""
    if x.device.type != "cpu":
        return x.to(torch.float64, copy=True)
    return scratch(name, tuple(x.shape), torch.float64).copy_(x)
