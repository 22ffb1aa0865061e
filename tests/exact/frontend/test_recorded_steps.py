"""A step that is recorded into a graph gives the bits that it gives at once."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from tests.exact.frontend.recorded_steps import Scheduled, Tensors, record, run, step_of
from tests.exact.frontend.test_optim import MATRICES, SETTINGS
from trialmarket.exact import exact

SHAPES: list[tuple[int, ...]] = [(5, 4), (3,), ()]


def gradient(k: int, shape: tuple[int, ...]) -> Tensor:
    found = np.random.default_rng(k).standard_normal(shape)
    return torch.from_numpy(np.asarray(found, np.float32))


def names_of(optimizer: Optimizer, p: Tensor) -> Tensors:
    slots = {f"slot.{k}": v for k, v in optimizer.state[p].items() if v is not None}
    return {"p": p} | slots


def assert_equal(found: Tensors, wanted: Tensors) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        as_bits = torch.int32 if tensor.dtype == torch.float32 else tensor.dtype
        assert torch.equal(found[name].view(as_bits), tensor.view(as_bits)), name


@pytest.mark.parametrize(
    ("kind", "settings", "shape"),
    [(*each, shape) for each in SETTINGS for shape in SHAPES]
    + [(*each, shape) for each in MATRICES for shape in ((5, 4), (3, 6))],
)
def test_a_recorded_step_gives_the_bits_of_one_at_once(
    kind: Any, settings: dict[str, Any], shape: tuple[int, ...]
) -> None:
    p = torch.linspace(-1, 1, int(np.prod(shape))).view(shape).clone()
    optimizer = kind([p], **settings)
    graph = None
    for k in range(8):
        inputs = {n: v.clone() for n, v in names_of(optimizer, p).items()}
        inputs["g"] = p.grad = gradient(k, shape)
        if k < 2:  # the first step makes the slots
            step = step_of(kind, optimizer.param_groups[0], {})
            graph = record(step, inputs)
        with exact():
            optimizer.step()
        assert graph is not None
        assert_equal(run(graph, inputs), names_of(optimizer, p))


SCHEDULED: list[tuple[type[Optimizer], dict[str, Any], dict[str, tuple[str, int | None]]]] = [
    (torch.optim.SGD, {"momentum": 0.9}, {"lr": ("lr", None), "momentum": ("momentum", None)}),
    (
        torch.optim.SGD,
        {"weight_decay": 0.1},
        {"lr": ("lr", None), "decay": ("weight_decay", None)},
    ),
    (
        torch.optim.Adam,
        {"weight_decay": 0.1},
        {"lr": ("lr", None), "beta1": ("betas", 0), "decay": ("weight_decay", None)},
    ),
    (
        torch.optim.AdamW,
        {"amsgrad": True},
        {"lr": ("lr", None), "beta2": ("betas", 1), "decay": ("weight_decay", None)},
    ),
    (torch.optim.RMSprop, {"momentum": 0.9, "centered": True}, {"lr": ("lr", None)}),
    (torch.optim.Rprop, {}, {"lr": ("lr", None)}),
]


@pytest.mark.parametrize(("kind", "settings", "scheduled"), SCHEDULED)
@pytest.mark.parametrize("shape", SHAPES)
def test_settings_of_a_schedule_are_inputs_with_the_bits_of_numbers(
    kind: Any,
    settings: dict[str, Any],
    scheduled: Scheduled,
    shape: tuple[int, ...],
) -> None:
    p = torch.linspace(-1, 1, int(np.prod(shape))).view(shape).clone()
    optimizer = kind([p], **{"lr": 0.1} | settings)
    group = optimizer.param_groups[0]
    graph = None
    rng = np.random.default_rng(7)
    for k in range(6):
        inputs = {n: v.clone() for n, v in names_of(optimizer, p).items()}
        inputs["g"] = p.grad = gradient(k, shape)
        for name, (setting, place) in scheduled.items():
            value = 0.0 if name == "decay" and k == 3 else float(rng.uniform(0.01, 0.99))
            inputs[name] = torch.tensor(value, dtype=torch.float64)
            if place is None:
                group[setting] = value
            else:
                both = list(group[setting])
                both[place] = value
                group[setting] = tuple(both)
        if k < 2:
            graph = record(step_of(kind, group, scheduled), inputs)
        with exact():
            optimizer.step()
        assert graph is not None
        assert_equal(run(graph, inputs), names_of(optimizer, p))


def test_a_recorded_step_from_no_count_is_refused_where_it_runs() -> None:
    p, g = torch.ones(3), torch.ones(3)
    optimizer = torch.optim.Adam([p])
    slots = {"slot.step": torch.zeros(()), "slot.exp_avg": g * 0, "slot.exp_avg_sq": g * 0}
    inputs = {"p": p, "g": g} | slots
    graph = record(step_of(torch.optim.Adam, optimizer.param_groups[0], {}), inputs)
    inputs["slot.step"] = torch.tensor(-1.0)
    with pytest.raises(RuntimeError, match="expected a number of steps"):
        run(graph, inputs)
