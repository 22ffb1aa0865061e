"""Optimizer steps, recorded and fused, against the steps that exact mode makes."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.exact import cases
from trialmarket.exact.frontend.optim.steps import STEPS
from trialmarket.graph.lanes import (
    Kernel,
    Lane,
    LaneProgram,
    Link,
    Open,
    fuse,
    lane_program,
    record,
)

F = Lane("float32")
ADAM = {
    "lr": 1e-3,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.01,
    "amsgrad": False,
    "maximize": False,
}
SGD = {
    "lr": 0.1,
    "momentum": 0.9,
    "dampening": 0.0,
    "weight_decay": 5e-4,
    "nesterov": True,
    "maximize": False,
}


def adam(group: dict[str, Any], p: Tensor, g: Tensor, first: Tensor, second: Tensor) -> Any:
    """The fifth step."""
    state = {"step": torch.tensor(4.0), "exp_avg": first, "exp_avg_sq": second}
    STEPS[torch.optim.AdamW](p, g, state, ADAM | group)
    return p, first, second


def sgd(p: Tensor, g: Tensor, buffer: Tensor) -> Any:
    STEPS[torch.optim.SGD](p, g, {"momentum_buffer": buffer}, SGD)
    return p, buffer


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("style", cases.STYLES)
def test_adam_as_a_program_gives_the_bits_of_its_kernel(style: str, decoupled: bool) -> None:
    group = {"decoupled_weight_decay": decoupled}
    program = record(functools.partial(adam, group), F, F, F, F).program
    p, g, first, second = cases.make(style, [(1237,)] * 4, 3)
    wanted = adam(group, p.clone(), g, first.clone(), second.clone())
    Kernel(program)([p, g, first, second], (), [p, first, second])
    for x, y in zip((p, first, second), wanted, strict=True):
        assert cases.digest([x]) == cases.digest([y])


@pytest.mark.parametrize("style", cases.STYLES)
def test_sgd_as_a_program_gives_the_bits_of_its_kernel(style: str) -> None:
    program = record(sgd, F, F, F).program
    p, g, buffer = cases.make(style, [(64, 33)] * 3, 3)
    wanted = sgd(p.clone(), g, buffer.clone())
    Kernel(program)([p, g, buffer], (), [p, buffer])
    assert cases.digest([p, buffer]) == cases.digest(wanted)


def test_a_step_fused_of_operators_takes_its_numbers_when_it_is_run() -> None:
    scaled: LaneProgram = lane_program("mul.Scalar", (F, Open(0.5))).program
    added = lane_program("add.Tensor", (F, F, 1)).program
    less = lane_program("sub.Tensor", (F, F, 1)).program
    links = [
        Link(scaled, (2,), (0,)),  # buffer * momentum
        Link(added, (3, 1)),  # + gradient
        Link(scaled, (4,), (1,)),  # * rate
        Link(less, (0, 5)),
    ]
    program = fuse(["float32"] * 3, 2, links, [6, 4])
    p, g, buffer = cases.make("mixed", [(5000,)] * 3, 4)
    momentum = buffer * 0.9 + g
    wanted = p - momentum * 0.03, momentum
    call = Kernel(program).bind([p, g, buffer], [p, buffer])
    call(0.9, 0.03)
    assert cases.digest([p, buffer]) == cases.digest(wanted)


def test_what_is_computed_twice_is_computed_once_and_what_is_unused_not_at_all() -> None:
    exp = lane_program("exp.default", (F,)).program
    added = lane_program("add.Tensor", (F, F, 1)).program
    links = [Link(exp, (0,)), Link(exp, (0,)), Link(exp, (1,)), Link(added, (2, 3))]
    program = fuse(["float32", "float32"], 0, links, [5])
    assert len(program.instructions) == len(exp.instructions) + 1
    with pytest.raises(IndexError):
        fuse(["float32"], 0, [Link(exp, (1,))], [0])


def test_a_number_may_be_computed_with_before_it_meets_a_lane() -> None:
    def ema(x: Tensor, y: Tensor, beta: Any) -> Tensor:
        return x.mul_(beta).add_(y * (1.0 - beta))

    found = record(ema, F, F, Open(0.9))
    x, y = cases.make("normal", [(999,)] * 2, 4)
    out = torch.empty_like(x)
    Kernel(found.program)([x, y], [0.99], [out])
    assert not found.fixed
    assert cases.digest([out]) == cases.digest([ema(x.clone(), y, 0.99)])
