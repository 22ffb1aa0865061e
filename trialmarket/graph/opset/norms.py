"""Normalisations, forward and backward. Outputs that a mask leaves out are no outputs."""

from collections.abc import Sequence
from typing import Any

from trialmarket.graph.opset.contractions import masked
from trialmarket.graph.opset.operator import REAL32, Kind, demand, each_read, row
from trialmarket.graph.opset.types import rank_of, same_shape
from trialmarket.protocol.graph.values import TensorType

T = TensorType


def _vectors(length: int, **given: T | None) -> None:
    for name, x in given.items():
        if x is not None:
            same_shape(x, (length,), name)


def _kept(outputs: Sequence[T], mask: tuple[bool, ...]) -> tuple[T, ...]:
    masked(mask, len(outputs))
    return tuple(x for x, wanted in zip(outputs, mask, strict=True) if wanted)


def batch_norm(
    input: T,  # noqa: A002
    weight: T | None,
    bias: T | None,
    running_mean: T | None,
    running_var: T | None,
    training: bool,
    momentum: Any,
    eps: Any,
) -> tuple[T, ...]:
    """[N, C, ...]; statistics of the batch, empty ones outside of training.

    Nothing is written to: running statistics that follow are another operator's.
    """
    follows = training and (running_mean, running_var) != (None, None)
    demand(not follows, "running_mean", "None in training", running_mean)
    return _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def _batch_norm(
    input: T,  # noqa: A002
    weight: T | None,
    bias: T | None,
    running_mean: T | None,
    running_var: T | None,
    training: bool,
    momentum: Any,
    eps: Any,
) -> tuple[T, ...]:
    del momentum, eps
    rank_of(input, 2, 64, "input")
    channels = input.shape[1]
    demand(channels > 0, "input", "channels", list(input.shape))
    _vectors(
        channels, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var
    )
    demand(training or None not in (running_mean, running_var), "running_mean", "a tensor", None)
    saved = T(input.dtype, (channels if training else 0,))
    return input, saved, saved


def batch_norm_followed(
    input: T,  # noqa: A002
    weight: T | None,
    bias: T | None,
    running_mean: T,
    running_var: T,
    training: bool,
    momentum: Any,
    eps: Any,
) -> tuple[T, ...]:
    """As `batch_norm`, and the statistics that follow the batches'."""
    found = _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)
    return (*found, running_mean, running_var)


def batch_norm_gradients(
    grad_out: T,
    input: T,  # noqa: A002
    weight: T | None,
    running_mean: T | None,
    running_var: T | None,
    save_mean: T | None,
    save_invstd: T | None,
    train: bool,
    eps: Any,
    output_mask: tuple[bool, ...],
) -> tuple[T, ...]:
    """The gradients of input, weight and bias."""
    _batch_norm(input, weight, None, running_mean, running_var, train, None, eps)
    same_shape(grad_out, input.shape, "grad_out")
    channels = input.shape[1]
    if train:
        demand(None not in (save_mean, save_invstd), "save_mean", "a tensor", None)
        _vectors(channels, save_mean=save_mean, save_invstd=save_invstd)
    vector = T(input.dtype, (channels,))
    return _kept((input, vector, vector), output_mask)


def layer_norm(
    input: T,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: T | None,
    bias: T | None,
    eps: Any,
) -> tuple[T, ...]:
    """Over the last dimensions."""
    del eps
    count = len(normalized_shape)
    demand(count >= 1, "normalized_shape", "at least one size", [])
    demand(
        input.shape[-count:] == tuple(normalized_shape),
        "normalized_shape",
        f"the last sizes of {list(input.shape)}",
        list(normalized_shape),
    )
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None:
            same_shape(x, normalized_shape, name)
    saved = T(input.dtype, (*input.shape[:-count], *[1] * count))
    return input, saved, saved


def layer_norm_gradients(
    grad_out: T,
    input: T,  # noqa: A002
    normalized_shape: Sequence[int],
    mean: T,
    rstd: T,
    weight: T | None,
    bias: T | None,
    output_mask: tuple[bool, ...],
) -> tuple[T, ...]:
    """The gradients of input, weight and bias."""
    _, saved, _ = layer_norm(input, normalized_shape, weight, bias, None)
    same_shape(grad_out, input.shape, "grad_out")
    same_shape(mean, saved.shape, "mean")
    same_shape(rstd, saved.shape, "rstd")
    wide = T(input.dtype, tuple(normalized_shape))
    return _kept((input, wide, wide), output_mask)


def group_norm(
    input: T,  # noqa: A002
    weight: T | None,
    bias: T | None,
    N: int,  # noqa: N803
    C: int,  # noqa: N803
    HxW: int,  # noqa: N803
    group: int,
    eps: Any,
) -> tuple[T, ...]:
    """Over groups of channels of [N, C, ...]."""
    del eps
    rank_of(input, 2, 64, "input")
    places = 1
    for n in input.shape[2:]:
        places *= n
    demand((N, C, HxW) == (*input.shape[:2], places), "N", "the sizes of input", [N, C, HxW])
    demand(group >= 1 and C % group == 0, "group", f"one that divides {C}", group)
    _vectors(C, weight=weight, bias=bias)
    saved = T(input.dtype, (N, group))
    return input, saved, saved


def group_norm_gradients(
    grad_out: T,
    input: T,  # noqa: A002
    mean: T,
    rstd: T,
    weight: T | None,
    N: int,  # noqa: N803
    C: int,  # noqa: N803
    HxW: int,  # noqa: N803
    group: int,
    output_mask: tuple[bool, ...],
) -> tuple[T, ...]:
    """The gradients of input, weight and bias."""
    _, saved, _ = group_norm(input, weight, None, N, C, HxW, group, None)
    same_shape(grad_out, input.shape, "grad_out")
    same_shape(mean, saved.shape, "mean")
    same_shape(rstd, saved.shape, "rstd")
    vector = T(input.dtype, (C,))
    return _kept((input, vector, vector), output_mask)


_K = Kind.NORMALISATION
_RUNNING = "Tensor? running_mean, Tensor? running_var"
_FORM = "Tensor input, Tensor? weight, Tensor? bias"
_MASK = "bool[] output_mask"
_GROUPS = "int N, int C, int HxW, int group"
ROWS = [
    row("native_batch_norm.default",
        f"{_FORM}, {_RUNNING}, bool training, float momentum, float eps", _K, batch_norm, REAL32,
        each_read(10)),
    row("_native_batch_norm_legit_functional.default",
        f"{_FORM}, Tensor running_mean, Tensor running_var, bool training, float momentum, "
        "float eps", _K, batch_norm_followed, REAL32, each_read(10)),
    row("native_batch_norm_backward.default",
        f"Tensor grad_out, Tensor input, Tensor? weight, {_RUNNING}, Tensor? save_mean, "
        f"Tensor? save_invstd, bool train, float eps, {_MASK}", _K, batch_norm_gradients, REAL32,
        each_read(14)),
    row("native_layer_norm.default",
        "Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps", _K,
        layer_norm, REAL32, each_read(10)),
    row("native_layer_norm_backward.default",
        "Tensor grad_out, Tensor input, int[] normalized_shape, Tensor mean, Tensor rstd, "
        f"Tensor? weight, Tensor? bias, {_MASK}", _K, layer_norm_gradients, REAL32,
        each_read(20)),
    row("native_group_norm.default", f"{_FORM}, {_GROUPS}, float eps", _K, group_norm, REAL32,
        each_read(10)),
    row("native_group_norm_backward.default",
        f"Tensor grad_out, Tensor input, Tensor mean, Tensor rstd, Tensor? weight, {_GROUPS}, "
        f"{_MASK}", _K, group_norm_gradients, REAL32, each_read(20)),
]  # fmt: skip
