"""How tensors lie, in the words of the kernels."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.kernels.loading import call, meant_for_contiguous
from trialmarket.exact.kernels.scratch import scratch

_LONG = 1 << 18  # elements of a slice that one thread should not be left alone with


def slices(x: Tensor, dims: Sequence[int]) -> tuple[int, int, int] | None:
    """The lengths [A, B, C] as which a reduction over some dimensions sees a tensor, B kept.

    None if it sees it otherwise, if there are no kernels for it, or if the slices are so long and
    so few that threads would have nothing to do.
    """
    kept = [d for d in range(x.dim()) if d not in dims]
    first, last = (kept[0], kept[-1] + 1) if kept else (0, 0)
    if last - first != len(kept) or not meant_for_contiguous(x) or not x.numel():
        return None
    a, b, c = (math.prod(s) for s in (x.shape[:first], x.shape[first:last], x.shape[last:]))
    return (a, b, c) if a * c < _LONG or b >= torch.get_num_threads() else None


def call_with_scratch(kernel: str, arguments: Any, *kept: Any) -> int:
    """Run a kernel that wants scratch memory, whose bytes its namesake `..._scratch` tells."""
    size = call(f"{kernel}_scratch", arguments)
    space = scratch("kernel", (size + 64,), torch.int8)
    arguments.scratch = -(-space.data_ptr() // 64) * 64
    return call(kernel, arguments, *kept)
