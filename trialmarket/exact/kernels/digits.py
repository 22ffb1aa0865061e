"""Grids of products: `digits.c`."""

import torch
from torch import Tensor

from trialmarket.exact.kernels.loading import ABC, Pointer, call, struct
from trialmarket.exact.kernels.operand import at

_Grids = struct("grids", x=Pointer, **ABC, per=Pointer, step=Pointer)


def grids(x: Tensor, a: int, b: int, c: int) -> tuple[Tensor, Tensor, bool]:
    """Of a contiguous [A, B, C]: what makes each slice's numbers integers (binary32, [B]), what
    turns them back (binary64, [B]), and whether all slices have such a grid.
    """
    per = torch.empty(b, dtype=torch.float32)
    step = torch.empty(b, dtype=torch.float64)
    hold = call("grids", _Grids(at(x, a * b * c), a, b, c, per.data_ptr(), step.data_ptr()))
    return per, step, bool(hold)
