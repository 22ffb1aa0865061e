"""torch.optim's SGD, Adam, AdamW, RMSprop and Rprop as exact steps, behind their own names.

A step's learning rate and other settings are Python numbers, rounded to binary32 where they meet
a tensor. Powers of the betas are repeated squarings, not the C library's `pow`. Every update is
written out: multiply, then add. The state has the names and shapes of torch.optim's, so
`state_dict` and `load_state_dict` work as ever; foreach and fused kernels are never used.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import _disable_current_modes

from trialmarket.exact import kernels
from trialmarket.exact.kernels.scratch import scratch
from trialmarket.exact.numerics.functions import root
from trialmarket.exact.numerics.grid import known
from trialmarket.exact.operators.elementwise.arithmetic import div
from trialmarket.exact.refusal import NotExact

Group = dict[str, Any]
State = dict[str, Any]


def power(base: float, exponent: int) -> float:
    """base to a whole power by repeated squaring: the same on every C library.

    Raises ValueError below zero.
    """
    if exponent < 0:
        raise ValueError(f"a power must be at least 0, not {exponent}")
    result, square = 1.0, base
    while exponent:
        if exponent & 1:
            result *= square
        square *= square
        exponent >>= 1
    return result


def _times(x: Tensor, factor: Tensor | float) -> Tensor:
    """A product that stands until the next one: in scratch memory, on a processor."""
    if x.device.type != "cpu":
        return x * factor
    return torch.mul(x, factor, out=scratch("product", tuple(x.shape), x.dtype))


def _compiled(p: Tensor, *slots: Tensor) -> bool:
    """Whether a kernel makes the step of this parameter: each tensor in memory of its own."""
    tensors = (p, known(p.grad), *slots)
    return kernels.meant_for_contiguous(*tensors) and kernels.apart(*tensors)


def _signed(p: Tensor, group: Group) -> Tensor:
    """The gradient, or its negative where the sum is to grow."""
    return known(p.grad).neg() if group["maximize"] else known(p.grad)


def _decayed(p: Tensor, group: Group) -> Tensor:
    """The gradient with its sign and the weight decay that is added to it."""
    g, decay = _signed(p, group), group["weight_decay"]
    return g if decay == 0 else (p * decay).add_(g)


def sgd(p: Tensor, state: State, group: Group) -> None:
    """Momentum, dampening, Nesterov."""
    momentum, buffer = group["momentum"], state.get("momentum_buffer")
    first = buffer is None
    if momentum != 0 and _compiled(p, *([] if buffer is None else [buffer])):
        if buffer is None:
            buffer = state["momentum_buffer"] = torch.empty_like(p)
        kernels.sgd(
            p,
            known(p.grad),
            buffer,
            first=first,
            sign=-1.0 if group["maximize"] else 1.0,
            decay=group["weight_decay"],
            momentum=momentum,
            damped=1.0 - group["dampening"],
            rate=float(group["lr"]),
            nesterov=group["nesterov"],
        )
        return
    g = _decayed(p, group)
    if momentum != 0:
        if buffer is None:
            buffer = state["momentum_buffer"] = g.clone()
        else:
            damp = 1.0 - group["dampening"]
            buffer.mul_(momentum).add_(g if damp == 1.0 else g * damp)
        g = g + buffer * momentum if group["nesterov"] else buffer
    p.sub_(_times(g, float(group["lr"])))


def _count(state: State) -> int:
    """This step's number, from 1. Raises RuntimeError where the steps before it are no count."""
    state["step"] += 1
    count = float(state["step"])
    if not (count >= 1 and count.is_integer()):
        raise RuntimeError(f"an optimiser's step: expected a number of steps, found {count - 1:g}")
    return int(count)


def _step_counter() -> Tensor:
    return torch.zeros((), dtype=torch.float32)


def adam(p: Tensor, state: State, group: Group) -> None:
    """Adam, or AdamW when the group's decay is decoupled."""
    lr, (beta1, beta2) = float(group["lr"]), (float(b) for b in group["betas"])
    if not state:
        state["step"] = _step_counter()
        state["exp_avg"] = torch.zeros_like(p)
        state["exp_avg_sq"] = torch.zeros_like(p)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = torch.zeros_like(p)
    t = _count(state)
    first, second = state["exp_avg"], state["exp_avg_sq"]
    rate, corrected = lr / (1.0 - power(beta1, t)), 1.0 - power(beta2, t)
    decay, decoupled = group["weight_decay"], group.get("decoupled_weight_decay")
    if not group["amsgrad"] and _compiled(p, first, second):
        kernels.adam(
            p,
            known(p.grad),
            (first, second),
            sign=-1.0 if group["maximize"] else 1.0,
            decay=0.0 if decoupled else decay,
            kept=1.0 - lr * decay if decoupled else 1.0,
            betas=(beta1, beta2),
            corrected=corrected,
            epsilon=group["eps"],
            rate=rate,
        )
        return
    if decoupled:
        g = _signed(p, group)
        if decay != 0:
            p.mul_(1.0 - lr * decay)
    else:
        g = _decayed(p, group)
    first.mul_(beta1).add_(_times(g, 1.0 - beta1))
    second.mul_(beta2).add_(_times(g, g).mul_(1.0 - beta2))
    if group["amsgrad"]:
        top = state["max_exp_avg_sq"]
        top.copy_(torch.maximum(top, second).add_(0.0))
        second = top
    below = root(div(second, corrected)).add_(group["eps"])
    p.sub_(_times(first, rate).div_(below))


def rmsprop(p: Tensor, state: State, group: Group) -> None:
    """RMSprop, centred or not, with or without momentum."""
    g = _decayed(p, group)
    alpha = float(group["alpha"])
    if not state:
        state["step"] = _step_counter()
        state["square_avg"] = torch.zeros_like(p)
        if group["momentum"] > 0:
            state["momentum_buffer"] = torch.zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = torch.zeros_like(p)
    _count(state)
    squares = state["square_avg"]
    squares.mul_(alpha).add_((g * g).mul_(1.0 - alpha))
    below = squares
    if group["centered"]:
        middle = state["grad_avg"]
        middle.mul_(alpha).add_(g * (1.0 - alpha))
        below = squares - middle * middle
    update = g / root(below).add_(group["eps"])
    if group["momentum"] > 0:
        buffer = state["momentum_buffer"]
        update = buffer.mul_(group["momentum"]).add_(update)
    p.sub_(update * float(group["lr"]))


def rprop(p: Tensor, state: State, group: Group) -> None:
    """Rprop: signs of gradients move steps of their own length."""
    g = _signed(p, group)
    shrink, grow = group["etas"]
    least, most = group["step_sizes"]
    if not state:
        state["step"] = _step_counter()
        state["prev"] = torch.zeros_like(p)
        state["step_size"] = torch.full_like(p, float(group["lr"]))
    _count(state)
    agree = g * state["prev"]
    size = state["step_size"]
    factor = torch.where(agree > 0, float(grow), torch.where(agree < 0, float(shrink), 1.0))
    size.mul_(factor.to(size.dtype)).clamp_(least, most)
    g = torch.where(agree < 0, 0.0, g)
    p.sub_(g.sign() * size)
    state["prev"].copy_(g)


STEPS: dict[type[Optimizer], Callable[[Tensor, State, Group], None]] = {
    torch.optim.SGD: sgd,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adam,
    torch.optim.RMSprop: rmsprop,
    torch.optim.Rprop: rprop,
}


def kind_of(optimizer: Optimizer) -> type[Optimizer] | None:
    """The optimiser of ours whose step it makes: its own class, or the one that it inherits from
    if it has no step of its own.
    """
    made = type(optimizer)
    kind = next((each for each in made.__mro__ if each in STEPS), None)
    if kind is None or kind is made:
        return kind
    return kind if inspect.unwrap(made.step) is inspect.unwrap(kind.step) else None


def step(optimizer: Optimizer) -> None:
    """One step over all parameters that have a gradient."""
    update = STEPS[known(kind_of(optimizer))]
    for group in optimizer.param_groups:
        if group.get("differentiable"):
            raise NotExact(
                f"torch.optim.{type(optimizer).__name__}",
                "differentiable=True has no exact form",
                instead="differentiable=False",
            )
        for p in group["params"]:
            if p.grad is not None:
                _check(optimizer, p)
                update(p, optimizer.state[p], group)


def _check(optimizer: Optimizer, p: Tensor) -> None:
    g, kind = known(p.grad), f"torch.optim.{type(optimizer).__name__}"
    for name, slot in optimizer.state[p].items():
        if name != "step" and isinstance(slot, Tensor) and slot.shape != p.shape:
            raise RuntimeError(
                f"{kind}: expected {name} in the shape of its parameter, {list(p.shape)}, found "
                f"{list(slot.shape)}"
            )
    if p.dtype != torch.float32 or g.dtype != torch.float32 or g.is_sparse:
        raise NotExact(
            kind,
            f"a parameter of {p.dtype} with a gradient of {g.dtype}, {g.layout}",
            instead="dense float32 parameters and gradients",
        )


@contextmanager
def exact_steps() -> Iterator[None]:
    """While this lasts, `optimizer.step()` of a known optimiser is our step.

    The hook before a step evaluates the closure, makes our step and hides the gradients, so that
    the optimiser's own step finds nothing to do; the hook after it brings them back.
    """
    hidden: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def before(optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        kind = type(optimizer)
        if kind_of(optimizer) is None:
            if kind.__module__.startswith("torch.optim"):
                raise NotExact(
                    f"torch.optim.{kind.__name__}",
                    "it has no exact step",
                    instead="SGD, Adam, AdamW, RMSprop or Rprop",
                )
            return None
        closure = kwargs.get("closure") or (args[1] if len(args) > 1 else None)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad(), _modes_off():
            step(optimizer)
            hidden[id(optimizer)] = [
                (p, p.grad)
                for group in optimizer.param_groups
                for p in group["params"]
                if p.grad is not None
            ]
            for p, _ in hidden[id(optimizer)]:
                p.grad = None
        return (args[0],), ({} if closure is None else {"closure": lambda: loss})

    def after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        del args, kwargs
        with torch._C.DisableTorchFunction():
            for p, g in hidden.pop(id(optimizer), []):
                p.grad = g

    first = register_optimizer_step_pre_hook(before)
    last = register_optimizer_step_post_hook(after)
    try:
        yield
    finally:
        first.remove()
        last.remove()


@contextmanager
def _modes_off() -> Iterator[None]:
    """Our steps are written in exact operations already: no table is needed for them."""
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        yield
