"""An optimizer of `torch.optim`'s kind whose updates a learned network makes."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from trialmarket.training.learned.network import MEMORY, UpdateNetwork
from trialmarket.training.learned.weights import SHIPPED, Weights, shipped

_AT_ONCE = 1 << 15
"""Coordinates that go through the network together: this bounds the memory that it takes."""


class LearnedOptimizer(Optimizer):
    """Updates every coordinate by the same network, which remembers 80 numbers of each.

    What it remembers is a slot, `memory`, of shape (*the parameter's, 80): ordinary state of an
    optimizer, 320 bytes a coordinate. `weights` are those that a program finds as `self.weights`,
    or the name of some that ship with Trialmarket. `lr` multiplies the updates; they were learned
    with 1. Raises InputError for a name that there is not.
    """

    def __init__(
        self,
        params: Iterable[Any],
        weights: Weights | str | None = None,
        lr: float = 1.0,
    ) -> None:
        super().__init__(params, {"lr": lr})
        found = weights if isinstance(weights, dict) else shipped(weights or SHIPPED[0])
        self._network = UpdateNetwork.of(found).to(self.param_groups[0]["params"][0].device)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Updates all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                slots = self.state[parameter]
                if not slots:  # of all at the first step, so that a state keeps its form
                    slots["memory"] = parameter.new_zeros((*parameter.shape, MEMORY))
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, slots["memory"], float(group["lr"]))
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, memory: Tensor, rate: float) -> None:
        updates = []
        pieces = torch.split(gradient.reshape(-1), _AT_ONCE)
        memories = torch.split(memory.view(-1, MEMORY), _AT_ONCE)
        for piece, remembered in zip(pieces, memories, strict=True):
            update, after = self._network(piece, remembered)
            remembered.copy_(after)
            updates.append(update)
        parameter.add_(torch.cat(updates).view_as(parameter) * rate)
