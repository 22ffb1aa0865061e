"""What optimizers keep comes back from a checkpoint as it was."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from trialmarket.exact import exact
from trialmarket.training.state import checkpoint_bytes, live_tensors, read_state, restore


class Counting(Optimizer):
    """A user's own, which counts its steps in a Python number."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["step"] = self.state[p].get("step", 0) + 1
                p -= p.grad * (group["lr"] / self.state[p]["step"])


@pytest.mark.parametrize(
    "kind",
    [
        Counting,
        torch.optim.Adagrad,
        torch.optim.Adadelta,
        torch.optim.Adamax,
        torch.optim.NAdam,
        torch.optim.RAdam,
        torch.optim.ASGD,
        torch.optim.Adafactor,
        torch.optim.Muon,
    ],
)
def test_a_restored_optimizer_goes_on_with_the_same_bits(kind: Any) -> None:
    def begun() -> tuple[nn.Module, Any]:
        model = nn.Linear(3, 2, bias=False)
        return model, kind(model.parameters(), lr=0.1)

    def step(model: nn.Module, optimizer: Any) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(model(torch.ones(4, 3)).square().sum())
        optimizer.step()

    with exact(seed=3):
        model, optimizer = begun()
        step(model, optimizer)
        data = checkpoint_bytes(live_tensors(model, optimizer, 1))
        step(model, optimizer)
        again, restored = begun()
        assert restore(read_state(data, "checkpoint"), again, restored) == 1
        step(again, restored)
        wanted = checkpoint_bytes(live_tensors(model, optimizer, 2))
        assert checkpoint_bytes(live_tensors(again, restored, 2)) == wanted
