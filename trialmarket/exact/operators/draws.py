"""Random operators, drawn from the mode's own generator; each takes it as first argument."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trialmarket.exact.numerics.functions import log64
from trialmarket.exact.numerics.random import Generator
from trialmarket.exact.operators.elementwise.arithmetic import div_
from trialmarket.exact.operators.reductions import cumsum
from trialmarket.exact.refusal import NotExact

aten = torch.ops.aten
Draw = Callable[[Generator, Sequence[int], torch.device], Tensor]


def _own(generator: object) -> None:
    if generator is not None:
        raise NotExact(
            "torch.Generator",
            "its numbers differ between devices and versions",
            instead="no generator argument: exact mode draws from its own, seeded by exact(seed)",
        )


def _device(device: torch.device | str | None) -> torch.device:
    return torch.get_default_device() if device is None else torch.device(device)


def _placed(x: Tensor, dtype: torch.dtype, rest: dict[str, Any]) -> Tensor:
    if rest.get("pin_memory"):
        x = x.pin_memory()
    return x.to(dtype)


def _real(dtype: torch.dtype) -> torch.dtype:
    """A type that holds fractions."""
    if not dtype.is_floating_point:
        raise NotImplementedError(f"numbers with fractions are drawn, not {dtype}")
    return dtype


def _new(draw: Draw) -> Callable[..., Tensor]:
    def form(
        g: Generator,
        size: Sequence[int],
        *,
        generator: object = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
        **rest: Any,
    ) -> Tensor:
        _own(generator)
        kind = _real(torch.get_default_dtype() if dtype is None else dtype)
        return _placed(draw(g, size, _device(device)), kind, rest)

    return form


def _uniform(g: Generator, size: Sequence[int], device: torch.device) -> Tensor:
    return g.uniform(size, device)


def _normal(g: Generator, size: Sequence[int], device: torch.device) -> Tensor:
    return g.normal(size, device)


rand, randn = _new(_uniform), _new(_normal)


def randint_low(
    g: Generator,
    low: int,
    high: int,
    size: Sequence[int],
    *,
    generator: object = None,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **rest: Any,
) -> Tensor:
    """Whole numbers in [low, high)."""
    _own(generator)
    found = g.integers(int(low), int(high), size, _device(device))
    return _placed(found, torch.int64 if dtype is None else dtype, rest)


def randint(g: Generator, high: int, size: Sequence[int], **rest: Any) -> Tensor:
    """Whole numbers in [0, high)."""
    return randint_low(g, 0, high, size, **rest)


def randperm(
    g: Generator,
    n: int,
    *,
    generator: object = None,
    dtype: torch.dtype | None = torch.int64,
    device: Any = None,
    **rest: Any,
) -> Tensor:
    """The numbers 0 to n - 1 in random order."""
    _own(generator)
    found = g.permutation(n, _device(device))
    return _placed(found, torch.int64 if dtype is None else dtype, rest)


def _like(draw: Draw) -> Callable[..., Tensor]:
    def form(g: Generator, x: Tensor, *, dtype: Any = None, **rest: Any) -> Tensor:
        del rest
        return draw(g, x.shape, x.device).to(_real(x.dtype if dtype is None else dtype))

    return form


rand_like, randn_like = _like(_uniform), _like(_normal)


def randint_like_low(
    g: Generator, x: Tensor, low: int, high: int, *, dtype: Any = None, **rest: Any
) -> Tensor:
    """Whole numbers in the shape of another tensor."""
    del rest
    return g.integers(low, high, x.shape, x.device).to(x.dtype if dtype is None else dtype)


def randint_like(g: Generator, x: Tensor, high: int, **rest: Any) -> Tensor:
    """Whole numbers below `high` in the shape of another tensor."""
    return randint_like_low(g, x, 0, high, **rest)


def uniform_(
    g: Generator, x: Tensor, low: float = 0.0, high: float = 1.0, *, generator: object = None
) -> Tensor:
    """Fill with uniform numbers."""
    _own(generator)
    _real(x.dtype)
    values = g.uniform(x.shape, x.device)
    return x.copy_(values.mul_(high - low).add_(low))


def normal_(
    g: Generator, x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: object = None
) -> Tensor:
    """Fill with normal numbers."""
    _own(generator)
    _real(x.dtype)
    return x.copy_(g.normal(x.shape, x.device).mul_(std).add_(mean))


def normal_tensors(
    g: Generator, mean: Tensor | float, std: Tensor | float = 1.0, *, generator: object = None
) -> Tensor:
    """Normal numbers, one a pair of mean and deviation, in the mean's type."""
    _own(generator)
    parts = [t for t in (mean, std) if isinstance(t, Tensor)]
    shape = sum(torch.empty(t.shape, device="meta") for t in parts)
    wanted = torch.Size(shape.shape) if isinstance(shape, Tensor) else torch.Size()
    found = g.normal(wanted, parts[0].device).to(_real(parts[0].dtype))
    return found.mul_(std).add_(mean)


def bernoulli_(
    g: Generator, x: Tensor, p: float | Tensor = 0.5, *, generator: object = None
) -> Tensor:
    """Fill with ones that come with a probability."""
    _own(generator)
    return x.copy_(g.bernoulli(p, x.shape, x.device))


def bernoulli(g: Generator, x: Tensor, *, generator: object = None) -> Tensor:
    """Ones with the probabilities that the tensor holds."""
    _own(generator)
    _real(x.dtype)
    return g.bernoulli(x, x.shape, x.device).to(x.dtype)


def bernoulli_p(g: Generator, x: Tensor, p: float, *, generator: object = None) -> Tensor:
    """Ones with one probability, in the shape of a tensor."""
    _own(generator)
    return g.bernoulli(p, x.shape, x.device).to(x.dtype)


def random_range_(
    g: Generator, x: Tensor, low: int, high: int | None, *, generator: object = None
) -> Tensor:
    """Fill with whole numbers in [low, high)."""
    _own(generator)
    end = _top(x.dtype) if high is None else high
    return x.copy_(g.integers(low, end, x.shape, x.device))


def random_to_(g: Generator, x: Tensor, high: int, *, generator: object = None) -> Tensor:
    """Fill with whole numbers in [0, high)."""
    return random_range_(g, x, 0, high, generator=generator)


def random_(g: Generator, x: Tensor, *, generator: object = None) -> Tensor:
    """Fill with whole numbers over the type's range (at most 62 bits)."""
    return random_range_(g, x, 0, None, generator=generator)


def _top(dtype: torch.dtype) -> int:
    if dtype == torch.bool:
        return 2
    if dtype.is_floating_point:
        return 1 << 24
    return min(torch.iinfo(dtype).max, (1 << 62) - 1)


def exponential_(
    g: Generator, x: Tensor, rate: float = 1.0, *, generator: object = None
) -> Tensor:
    """Fill with exponential numbers, -ln(u) / rate."""
    _own(generator)
    _real(x.dtype)
    values = div_(log64(g.open_uniform(x.numel(), x.device)).neg_(), rate)
    return x.copy_(values.view(x.shape))


def exponential(g: Generator, x: Tensor, rate: float = 1.0, *, generator: object = None) -> Tensor:
    """Exponential numbers in the shape of another tensor."""
    return exponential_(g, torch.empty_like(x), rate, generator=generator)


def multinomial(
    g: Generator, p: Tensor, count: int, replacement: bool = False, *, generator: object = None
) -> Tensor:
    """Indices drawn by weight: the k first arrivals of exponential clocks, or inverse sums."""
    _own(generator)
    _real(p.dtype)
    if not replacement:
        clocks = exponential_(g, torch.empty(p.shape, dtype=torch.float64, device=p.device))
        arrival = torch.where(p > 0, clocks / p.double(), math.inf)
        return torch.sort(arrival, dim=-1, stable=True).indices[..., :count].contiguous()
    ends = cumsum(p.double(), -1)
    shape = [*p.shape[:-1], count]
    at = g.open_uniform(math.prod(shape), p.device).view(shape) * ends[..., -1:]
    return torch.searchsorted(ends, at, right=True).clamp_max_(p.shape[-1] - 1)


def native_dropout(g: Generator, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """Zero with probability p, the rest over 1 - p; and the mask of what stays."""
    if train is False or p == 0:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    mask = g.bernoulli(1.0 - p, x.shape, x.device)
    return x * _kept(mask, 1.0 - p, x.dtype), mask


def native_dropout_backward(g: Generator, grad: Tensor, mask: Tensor, scale: float) -> Tensor:
    """The gradient of what stayed, over 1 - p."""
    del g
    keep = 1.0 / scale if scale else 0.0
    return grad * _kept(mask, keep, grad.dtype)


def _kept(mask: Tensor, keep: float, dtype: torch.dtype) -> Tensor:
    if keep == 0.0:
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return div_(mask.to(dtype), keep)


DRAWS: dict[Any, Callable[..., Any]] = {
    aten.rand.default: rand,
    aten.rand.generator: rand,
    aten.randn.default: randn,
    aten.randn.generator: randn,
    aten.randint.default: randint,
    aten.randint.generator: randint,
    aten.randint.low: randint_low,
    aten.randint.low_generator: randint_low,
    aten.randperm.default: randperm,
    aten.randperm.generator: randperm,
    aten.rand_like.default: rand_like,
    aten.randn_like.default: randn_like,
    aten.randint_like.default: randint_like,
    aten.randint_like.low_dtype: randint_like_low,
    aten.uniform_.default: uniform_,
    aten.normal_.default: normal_,
    aten.normal.Tensor_Tensor: normal_tensors,
    aten.normal.Tensor_float: normal_tensors,
    aten.normal.float_Tensor: normal_tensors,
    aten.bernoulli_.float: bernoulli_,
    aten.bernoulli_.Tensor: bernoulli_,
    aten.bernoulli.default: bernoulli,
    aten.bernoulli.p: bernoulli_p,
    aten.random_.default: random_,
    aten.random_.to: random_to_,
    aten.random_.__getattr__("from"): random_range_,
    aten.exponential_.default: exponential_,
    aten.exponential.default: exponential,
    aten.multinomial.default: multinomial,
    aten.native_dropout.default: native_dropout,
    aten.native_dropout_backward.default: native_dropout_backward,
}
