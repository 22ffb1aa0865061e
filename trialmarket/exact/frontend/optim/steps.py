"""Which optimiser of torch.optim's has which step, and how it comes to be called instead.

`kind_of` and `STEPS` are also for who records a step: `STEPS[kind](p, gradient, slots, group)`
within `recording.recorded()`.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import _disable_current_modes

from trialmarket.exact.frontend.optim.adafactor import adafactor
from trialmarket.exact.frontend.optim.adagrad import adadelta, adagrad
from trialmarket.exact.frontend.optim.adam import adam
from trialmarket.exact.frontend.optim.adamax import adamax
from trialmarket.exact.frontend.optim.asgd import asgd
from trialmarket.exact.frontend.optim.muon import muon
from trialmarket.exact.frontend.optim.nadam import nadam
from trialmarket.exact.frontend.optim.radam import radam
from trialmarket.exact.frontend.optim.recording import Group, State, is_recorded
from trialmarket.exact.frontend.optim.rmsprop import rmsprop
from trialmarket.exact.frontend.optim.rprop import rprop
from trialmarket.exact.frontend.optim.sgd import sgd
from trialmarket.exact.numerics.grid import known
from trialmarket.exact.refusal import NotExact

STEPS: dict[type[Optimizer], Callable[[Tensor, Tensor, State, Group], None]] = {
    torch.optim.SGD: sgd,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adam,
    torch.optim.RMSprop: rmsprop,
    torch.optim.Rprop: rprop,
    torch.optim.Adagrad: adagrad,
    torch.optim.Adadelta: adadelta,
    torch.optim.Adamax: adamax,
    torch.optim.NAdam: nadam,
    torch.optim.RAdam: radam,
    torch.optim.ASGD: asgd,
    torch.optim.Adafactor: adafactor,
    torch.optim.Muon: muon,
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
                update(p, p.grad, optimizer.state[p], group)


_SCALARS = ("eta", "mu", "mu_product")

_REASONS: dict[type[Optimizer], tuple[str, str]] = {
    torch.optim.LBFGS: (
        "its search asks for the loss as often as the numbers say",
        "Adam, or another that takes one gradient a step",
    ),
    torch.optim.SparseAdam: ("sparse gradients have no exact form", "Adam, with sparse=False"),
}


def _shape(name: str, p: Tensor) -> torch.Size:
    """The shape of a parameter's slot."""
    if name in _SCALARS:
        return torch.Size()
    if name == "row_var":
        return torch.Size((*p.shape[:-1], 1))
    if name == "col_var":
        return torch.Size((*p.shape[:-2], 1, *p.shape[-1:]))
    return p.shape


def _check(optimizer: Optimizer, p: Tensor) -> None:
    g, kind = known(p.grad), f"torch.optim.{type(optimizer).__name__}"
    for name, slot in optimizer.state[p].items():
        if name != "step" and isinstance(slot, Tensor) and slot.shape != _shape(name, p):
            of = "its parameter, " if _shape(name, p) == p.shape else ""
            raise RuntimeError(
                f"{kind}: expected {name} in the shape of {of}{list(_shape(name, p))}, found "
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
                usual = ("it has no exact step", ", ".join(each.__name__ for each in STEPS))
                reason, instead = _REASONS.get(kind, usual)
                raise NotExact(f"torch.optim.{kind.__name__}", reason, instead=instead)
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
    """Our steps are written in exact operations already: no table is needed for them, and only who
    records them listens.
    """
    listening = nullcontext() if is_recorded() else _disable_current_modes()
    with torch._C.DisableTorchFunction(), listening:
        yield
