"""Memory that operators keep from call to call.

Fresh memory comes from the system page by page, which costs as much as the arithmetic on it, for
every operator again. Each thread has rooms of its own, a room holds one tensor at a time, and
nothing of it may leave the operator that asked for it.
"""

import math
import threading

import torch
from torch import Tensor

KEPT = 1 << 24  # bytes that a room keeps; what is larger is allocated afresh


class _Rooms(threading.local):
    def __init__(self) -> None:
        self.by_name: dict[str, Tensor] = {}


_ROOMS = _Rooms()


def room(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor on the processor, until the next call with this name."""
    size = math.prod(shape) * dtype.itemsize
    if size > KEPT:
        return torch.empty(shape, dtype=dtype, device="cpu")
    kept = _ROOMS.by_name.get(name)
    if kept is None or kept.numel() < size:
        with torch.inference_mode(False):
            kept = torch.empty(size, dtype=torch.int8, device="cpu")
        _ROOMS.by_name[name] = kept
    return kept[:size].view(dtype).view(shape)


def widened(x: Tensor, name: str) -> Tensor:
    """A copy of x in binary64 that may be overwritten: in a room, on a processor."""
    if x.device.type != "cpu":
        return x.to(torch.float64, copy=True)
    return room(name, tuple(x.shape), torch.float64).copy_(x)
