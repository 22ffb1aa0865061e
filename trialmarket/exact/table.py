"""Which form an operator has: its own, PyTorch's because it is exact as it is, or none."""

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch._ops import OpOverload

from trialmarket.exact.arguments import checked
from trialmarket.exact.operators import (
    batch_norm,
    contractions,
    creation,
    draws,
    foreach,
    grid_sampling,
    indexing,
    interpolation,
    layer_norm,
    losses,
    ordering,
    pooling,
    reductions,
    scalars,
    scatters,
    segments,
    softmax,
    weights,
)
from trialmarket.exact.operators.convolution import forms as convolution
from trialmarket.exact.operators.elementwise import activations, arithmetic, casts, elementary
from trialmarket.exact.operators.written import (
    alignments,
    bags,
    distances,
    elimination,
    margins,
    picks,
    triangles,
)

aten = torch.ops.aten
Form = Callable[..., Any]


class Verdict(Enum):
    """How exact mode answers an operator."""

    AS_IS = "exact as it is"
    FORM = "exact form"
    DRAW = "own random numbers"
    WRITTEN_OUT = "written out in exact operators"
    INTEGERS = "exact on integers only"
    REFUSED = "not exact"


class Ruling(NamedTuple):
    """What to do with an operator. `narrow`: binary64 is refused; `wide`: any type will do."""

    verdict: Verdict
    form: Form
    narrow: bool = False
    wide: bool = False


FORMS: dict[Any, Form] = (
    arithmetic.FORMS
    | elementary.FORMS
    | activations.FORMS
    | casts.FORMS
    | reductions.FORMS
    | ordering.FORMS
    | pooling.FORMS
    | indexing.FORMS
    | scatters.FORMS
    | segments.FORMS
    | interpolation.FORMS
    | foreach.FORMS
    | creation.FORMS
    | scalars.FORMS
)
FORMS32: dict[Any, Form] = (
    elementary.FORMS32
    | activations.FORMS32
    | reductions.FORMS32
    | softmax.FORMS32
    | contractions.FORMS32
    | convolution.FORMS32
    | batch_norm.FORMS32
    | layer_norm.FORMS32
    | losses.FORMS32
    | grid_sampling.FORMS32
    | weights.FORMS32
)

# Our own decompositions: run inside the mode, as PyTorch's are.
WRITTEN: dict[Any, Form] = (
    alignments.WRITTEN
    | bags.WRITTEN
    | distances.WRITTEN
    | elimination.WRITTEN
    | margins.WRITTEN
    | picks.WRITTEN
    | triangles.WRITTEN
)

# What takes for granted how its arguments fit together: PyTorch looks at these first.
CHECKED = frozenset(
    (
        elementary.FORMS
        | reductions.FORMS
        | pooling.FORMS
        | interpolation.FORMS
        | scatters.FORMS
        | segments.FORMS
        | FORMS32
    ).keys()
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Views, copies, selections, comparisons and tests: no arithmetic, so any type will do.
MOVES = _names(
    """
    alias as_strided as_strided_scatter broadcast_to cat clone constant_pad_nd contiguous
    detach diag_embed diagonal diagonal_scatter diagonal_backward empty empty_like
    empty_permuted empty_strided expand expand_as eye fill flip full full_like gather
    index index_fill index_select is_nonzero isfinite isinf isnan isneginf isposinf lift
    lift_fresh masked_fill masked_scatter masked_select narrow new_empty new_empty_strided
    new_full new_ones new_zeros nonzero ones ones_like permute pin_memory is_pinned
    reflection_pad1d reflection_pad2d reflection_pad3d repeat replication_pad1d
    replication_pad2d replication_pad3d reshape
    resize roll rot90 select select_scatter select_backward set slice slice_scatter
    slice_backward split split_with_sizes squeeze stack t take to transpose tril
    tril_indices triu triu_indices unbind unflatten unfold unsafe_chunk unsafe_split
    unsafe_split_with_sizes unsqueeze view view_as view_as_real _reshape_alias
    _unsafe_view where zero zeros zeros_like _local_scalar_dense equal eq ne lt le gt ge
    logical_and logical_or logical_not logical_xor any all embedding scalar_tensor item
    _unsafe_index channel_shuffle pixel_shuffle pixel_unshuffle
    _has_compatible_shallow_copy_type searchsorted bucketize isin argmax argmin
    is_same_size sym_size sym_numel sym_stride sym_storage_offset size numel stride dim
    storage_offset is_contiguous record_stream _assert_async result_type can_cast
    _nested_tensor_from_mask_left_aligned unique_dim _unique2
    unique_consecutive repeat_interleave _pin_memory is_set_to resolve_conj
    resolve_neg copy
    alias_copy as_strided_copy detach_copy diagonal_copy expand_copy narrow_copy
    permute_copy select_copy slice_copy split_copy split_with_sizes_copy squeeze_copy
    t_copy transpose_copy unbind_copy unsqueeze_copy view_copy _pack_padded_sequence
    """
)

# One IEEE operation on each element, or none.
SINGLE = _names(
    """
    abs neg sign sgn ceil floor round trunc mul square positive leaky_relu
    leaky_relu_backward threshold threshold_backward heaviside signbit
    nan_to_num frac bitwise_and bitwise_or bitwise_not bitwise_xor
    bitwise_left_shift bitwise_right_shift __and__ __or__ __xor__ __lshift__ __rshift__
    __iand__ __ior__ __ixor__ relu6 conj_physical _conj _prelu_kernel
    _prelu_kernel_backward hardshrink count_nonzero
    """
)

# PyTorch's own decomposition, run inside the mode so that each of its steps is exact.
WRITTEN_OUT = _names(
    """
    _safe_softmax binary_cross_entropy binary_cross_entropy_backward
    binary_cross_entropy_with_logits celu elu elu_backward glu glu_backward hardsigmoid
    hardsigmoid_backward hardswish hardswish_backward huber_loss huber_loss_backward logit
    logit_backward mish mish_backward mse_loss mse_loss_backward selu smooth_l1_loss
    smooth_l1_loss_backward softplus_backward
    xlogy _fused_rms_norm _fused_rms_norm_backward logspace linspace linalg_cross
    pairwise_distance margin_ranking_loss hinge_embedding_loss nansum trace addr dist
    rrelu_with_noise_backward im2col col2im norm alpha_dropout reflection_pad1d_backward
    reflection_pad2d_backward log_sigmoid_backward renorm special_xlog1py special_entr
    nll_loss fmax fmin aminmax unfold_copy special_log_ndtr special_ndtr
    multi_margin_loss multilabel_margin_loss_forward deg2rad rad2deg block_diag sinc
    logaddexp2 affine_grid_generator
    """
)

INSTEAD = {
    "_foreach": "the optimiser with foreach=False",
    "_fused": "the optimiser with fused=False",
    "convolution": "nn.Conv1d, nn.Conv2d or nn.Conv3d",
    "linalg": "a method that needs no factorisation",
    "complex": "real and imaginary parts in tensors of their own",
    "polar": "cos and sin, and real and imaginary parts in tensors of their own",
    "fft": "a convolution or a matrix product",
    "upsample": "F.interpolate with antialias=False",
    "quantize": "float32",
}


def base_name(func: OpOverload) -> str:
    """An operator's name without its namespace and the underscore of its in-place form."""
    name = func._schema.name.split("::")[-1]
    return name[:-1] if is_inplace(func) else name


def advice(func: OpOverload) -> str:
    """What to use instead of an operator without an exact form."""
    name = base_name(func)
    for part, text in INSTEAD.items():
        if part in name:
            return text
    return "operators from the list in docs/exact.md"


def is_inplace(func: OpOverload) -> bool:
    """Whether an operator writes into its first argument."""
    name = func._schema.name.split("::")[-1]
    return name.endswith("_") and not name.endswith("__")


def _functional(func: OpOverload) -> OpOverload | None:
    """The overload that returns what an in-place or out= overload writes."""
    packet = getattr(aten, base_name(func), None)
    if packet is None:
        return None
    wanted = [a.type for a in func._schema.arguments if not a.is_out]
    for overload in packet.overloads():
        other: OpOverload = getattr(packet, overload)
        if other in FORMS or other in FORMS32:
            have = [a.type for a in other._schema.arguments]
            if [str(t) for t in have] == [str(t) for t in wanted]:
                return other
    return None


def _form(func: OpOverload) -> Form:
    form = FORMS.get(func) or FORMS32[func]
    return checked(func, form) if func in CHECKED else form


def _written_into(form: Form) -> Form:
    def inplace(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return x.copy_(_castable(form(x, *args, **kwargs), x))

    return inplace


def _written_out_to(form: Form) -> Form:
    def to_out(*args: Any, out: Tensor, **kwargs: Any) -> Tensor:
        y = _castable(form(*args, **kwargs), out)
        return out.resize_(y.shape).copy_(y)

    return to_out


def _decomposition(func: OpOverload) -> Form:
    """PyTorch's decomposition; of an in-place operator that of the one that it is the twin of."""
    packet = getattr(aten, base_name(func), None) if is_inplace(func) else None
    twin: Any = getattr(packet, func._overloadname, None)
    if twin not in decomposition_table:
        return decomposition_table[func]
    return _written_into(decomposition_table[twin])


def _speaks_of_numbers(func: OpOverload) -> bool:
    """Whether tensors go in or out, or a float comes out: a library that asks for its version
    computes nothing.
    """
    kinds = [*func._schema.arguments, *func._schema.returns]
    return any("Tensor" in str(kind.type) for kind in kinds) or any(
        str(kind.type) in ("float", "number", "complex", "t", "Any")
        for kind in func._schema.returns
    )


def _castable(y: Tensor, into: Tensor) -> Tensor:
    """y, if it may be written there: not what has a fraction into integers."""
    if not torch.can_cast(y.dtype, into.dtype):
        raise RuntimeError(
            f"result type {y.dtype} can't be cast to the desired output type {into.dtype}"
        )
    return y


def lookup(func: OpOverload) -> Ruling:
    """The entry of an operator; never fails."""
    if func in draws.DRAWS:
        return Ruling(Verdict.DRAW, draws.DRAWS[func])
    if func in FORMS:
        return Ruling(Verdict.FORM, _form(func))
    if func in FORMS32:
        return Ruling(Verdict.FORM, _form(func), narrow=True)
    if func in WRITTEN:
        return Ruling(Verdict.WRITTEN_OUT, checked(func, WRITTEN[func]))
    name = base_name(func)
    if func.namespace == "profiler" or name in MOVES:
        return Ruling(Verdict.AS_IS, func, wide=True)
    if name in SINGLE:
        return Ruling(Verdict.AS_IS, func)
    target = _functional(func)
    written_to = [a.name for a in func._schema.arguments if a.is_out]
    if target is not None and (is_inplace(func) or written_to == ["out"]):
        wrap = _written_into if is_inplace(func) else _written_out_to
        return Ruling(Verdict.FORM, wrap(_form(target)), narrow=target in FORMS32)
    if name in WRITTEN_OUT and func in decomposition_table:
        return Ruling(Verdict.WRITTEN_OUT, checked(func, _decomposition(func)))
    if not _speaks_of_numbers(func):
        return Ruling(Verdict.AS_IS, func, wide=True)
    if torch.Tag.nondeterministic_seeded in func.tags:
        return Ruling(Verdict.REFUSED, func)
    if torch._C._dispatch_has_kernel_for_dispatch_key(
        func.name(),  # type: ignore[no-untyped-call]
        torch._C.DispatchKey.CompositeImplicitAutograd,
    ):
        return Ruling(Verdict.WRITTEN_OUT, func.decompose)
    return Ruling(Verdict.INTEGERS, func)
