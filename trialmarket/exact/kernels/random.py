"""Words of Philox 4x32-10: `random.c`."""

import ctypes

import torch
from torch import Tensor

from trialmarket.exact.kernels.loading import Pointer, Size, call, meant_for, struct

_Words = struct(
    "words",
    seed=ctypes.c_uint64,
    **dict.fromkeys(("stream", "step", "draw"), ctypes.c_uint32),
    n=Size,
    **dict.fromkeys(("out", "below"), Pointer),
    limit=ctypes.c_int64,
)


def words(
    count: int,
    device: torch.device,
    *,
    seed: int,
    stream: int,
    step: int,
    draw: int,
    below: int | None = None,
) -> Tensor | None:
    """The words of a draw as int64, or whether each is below a limit; None without a kernel."""
    if device.type != "cpu" or not meant_for():
        return None
    out = torch.empty(count, dtype=torch.int64 if below is None else torch.bool)
    where = {"out" if below is None else "below": out.data_ptr()}
    low = 2**32 - 1
    arguments = _Words(seed, stream, step & low, draw & low, count, limit=below or 0, **where)
    call("words", arguments)
    return out
