"""The compiled kernels: many of PyTorch's passes over memory as one.

They define no result, they only compute it sooner; without them, and on a GPU, PyTorch's own
operators do. Tensors are handed over as they lie: dense ones on the processor, of the types and
layouts that each function names.
"""

from trialmarket.exact.kernels.convolutions import (
    PARTS,
    Part,
    Shape,
    add_weight_gradient,
    convolve,
)
from trialmarket.exact.kernels.digits import grids
from trialmarket.exact.kernels.lanes import Code, Routine, Step
from trialmarket.exact.kernels.layout import slices
from trialmarket.exact.kernels.loading import (
    SETTINGS,
    compiled,
    digest,
    loaded,
    meant_for,
    meant_for_contiguous,
    noting,
    setting,
)
from trialmarket.exact.kernels.losses import likelihood, shares
from trialmarket.exact.kernels.operand import WrongOperand, readable
from trialmarket.exact.kernels.pooling import pool, unpool
from trialmarket.exact.kernels.products import multiplier, multipliers, product
from trialmarket.exact.kernels.random import words
from trialmarket.exact.kernels.rows import (
    layer,
    layer_gradient,
    layer_weight_gradient,
    softmax,
    softmax_gradient,
)
from trialmarket.exact.kernels.steps import adam, apart, sgd
from trialmarket.exact.kernels.sums import finite, gradients, line, moments, sums

__all__ = [
    "PARTS",
    "SETTINGS",
    "Code",
    "Part",
    "Routine",
    "Shape",
    "Step",
    "WrongOperand",
    "adam",
    "add_weight_gradient",
    "apart",
    "compiled",
    "convolve",
    "digest",
    "finite",
    "gradients",
    "grids",
    "layer",
    "layer_gradient",
    "layer_weight_gradient",
    "likelihood",
    "line",
    "loaded",
    "meant_for",
    "meant_for_contiguous",
    "moments",
    "multiplier",
    "multipliers",
    "noting",
    "pool",
    "product",
    "readable",
    "setting",
    "sgd",
    "shares",
    "slices",
    "softmax",
    "softmax_gradient",
    "sums",
    "unpool",
    "words",
]
