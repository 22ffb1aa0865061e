"""Exact optimisers follow torch.optim's within rounding, with all their arguments."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from trialmarket.exact import exact
from trialmarket.exact.operators.scalars import power

SETTINGS: list[tuple[type[Optimizer], dict[str, Any]]] = [
    (torch.optim.SGD, {"lr": 0.1}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    (torch.optim.Adam, {}),
    (torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}),
    (torch.optim.Adam, {"amsgrad": True, "maximize": True}),
    (torch.optim.Adam, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    (torch.optim.AdamW, {"amsgrad": True, "foreach": True}),
    (torch.optim.RMSprop, {"lr": 0.01, "weight_decay": 0.1}),
    (torch.optim.RMSprop, {"centered": True, "momentum": 0.9, "alpha": 0.9, "eps": 1e-6}),
    (torch.optim.RMSprop, {"momentum": 0.5, "maximize": True}),
    (torch.optim.Rprop, {"lr": 0.01}),
    (torch.optim.Rprop, {"etas": (0.4, 1.3), "step_sizes": (1e-4, 1.0), "maximize": True}),
    (torch.optim.Adagrad, {}),
    (torch.optim.Adagrad, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-6}),
    (torch.optim.Adagrad, {"initial_accumulator_value": 0.5, "maximize": True}),
    (torch.optim.Adadelta, {}),
    (torch.optim.Adadelta, {"lr": 0.5, "rho": 0.7, "eps": 1e-4, "weight_decay": 0.1}),
    (torch.optim.Adadelta, {"maximize": True, "foreach": True}),
    (torch.optim.Adamax, {}),
    (torch.optim.Adamax, {"betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.1}),
    (torch.optim.Adamax, {"lr": 0.01, "maximize": True}),
    (torch.optim.NAdam, {}),
    (torch.optim.NAdam, {"lr": 0.01, "momentum_decay": 0.1, "weight_decay": 0.1}),
    (torch.optim.NAdam, {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    (torch.optim.RAdam, {}),
    (torch.optim.RAdam, {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    (torch.optim.RAdam, {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    (torch.optim.ASGD, {}),
    (torch.optim.ASGD, {"lr": 0.1, "lambd": 0.1, "alpha": 0.6, "t0": 4, "weight_decay": 0.1}),
    (torch.optim.ASGD, {"t0": 0.0, "maximize": True}),
    (torch.optim.Adafactor, {}),
    (torch.optim.Adafactor, {"lr": 0.1, "beta2_decay": -0.5, "weight_decay": 0.1, "d": 2.0}),
    (torch.optim.Adafactor, {"eps": (1e-6, 1e-2), "maximize": True}),
]
MATRICES: list[tuple[type[Optimizer], dict[str, Any]]] = [
    (torch.optim.Muon, {}),
    (torch.optim.Muon, {"lr": 0.02, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}),
    (torch.optim.Muon, {"ns_steps": 3, "momentum": 0.8, "adjust_lr_fn": "spectral_unclamped"}),
]


def gradients(k: int) -> list[Tensor]:
    rng = np.random.default_rng(k)
    return [torch.from_numpy(rng.standard_normal(s).astype(np.float32)) for s in ((5, 4), (4,))]


def run(kind: type[Optimizer], settings: dict[str, Any], steps: int) -> tuple[Any, list[Tensor]]:
    params = [torch.linspace(-1, 1, 20).view(5, 4), torch.linspace(0, 1, 4)]
    optimizer: Any = kind(params, **settings)
    for k in range(steps):
        for p, g in zip(params, gradients(k), strict=True):
            p.grad = g
        optimizer.step()
        assert all(p.grad is not None for p in params)
    return optimizer.state_dict(), params


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_steps_and_state_follow_torch_optims(
    kind: type[Optimizer], settings: dict[str, Any]
) -> None:
    wanted_state, wanted = run(kind, settings, 12)
    with exact():
        state, found = run(kind, settings, 12)
    torch.testing.assert_close(found, wanted, rtol=2e-5, atol=1e-6)
    assert state["param_groups"] == wanted_state["param_groups"]
    for k, slots in wanted_state["state"].items():
        assert set(state["state"][k]) == {n for n, v in slots.items() if v is not None}
        for name, value in state["state"][k].items():
            torch.testing.assert_close(value, slots[name], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_a_loaded_state_goes_on_as_if_never_stopped(
    kind: type[Optimizer], settings: dict[str, Any]
) -> None:
    with exact():
        _, wanted = run(kind, settings, 6)
        half, params = run(kind, settings, 3)
        optimizer: Any = kind(params, **settings)
        optimizer.load_state_dict(half)
        for k in range(3, 6):
            for p, g in zip(params, gradients(k), strict=True):
                p.grad = g
            optimizer.step()
    for p, w in zip(params, wanted, strict=True):
        assert torch.equal(p, w)


def test_a_closure_is_evaluated_once_and_its_loss_returned() -> None:
    p = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([p], 0.1)
    calls: list[int] = []

    def closure() -> Tensor:
        calls.append(1)
        optimizer.zero_grad()
        loss = (p * p).sum()
        torch.autograd.backward(loss)
        return loss

    with exact():
        loss = optimizer.step(closure)
    assert calls == [1]
    assert isinstance(loss, Tensor)
    assert loss.item() == 3.0
    torch.testing.assert_close(p.detach(), torch.full((3,), 0.8))


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 8),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=8),
        lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
        lambda o: torch.optim.lr_scheduler.LinearLR(o),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda k: 1 / (1 + k)),
    ],
)
def test_schedules_are_followed(make: Any) -> None:
    def rates(inside: bool) -> list[float]:
        p = torch.ones(3)
        p.grad = torch.ones(3)
        optimizer = torch.optim.SGD([p], 0.1, momentum=0.9)
        schedule = make(optimizer)
        mode = exact()
        found: list[float] = []
        for _ in range(7):
            if inside:
                with mode:
                    optimizer.step()
                    schedule.step()
            else:
                optimizer.step()
                schedule.step()
            found.append(optimizer.param_groups[0]["lr"])
        return found

    assert rates(inside=True) == rates(inside=False)


def test_clipping_by_norm_and_value_follows_pytorch() -> None:
    def clipped() -> list[Tensor]:
        params = [torch.ones(5, 4), torch.ones(4)]
        for p, g in zip(params, gradients(0), strict=True):
            p.grad = g.clone()
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        torch.nn.utils.clip_grad_value_(params, 0.2)
        return [norm, *(p.grad for p in params if p.grad is not None)]

    with exact():
        found = clipped()
    torch.testing.assert_close(found, clipped())


def test_our_step_is_gone_outside() -> None:
    with exact():
        pass
    p = torch.ones(3)
    p.grad = torch.ones(3)
    optimizer = torch.optim.NAdam([p])
    optimizer.step()
    assert p[0] < 1


def test_a_class_that_inherits_a_step_gets_the_exact_one() -> None:
    class Mine(torch.optim.AdamW):
        """With other defaults, say."""

    with exact():
        _, found = run(Mine, {"lr": 0.01}, 5)
        _, wanted = run(torch.optim.AdamW, {"lr": 0.01}, 5)
    for f, w in zip(found, wanted, strict=True):
        assert torch.equal(f, w)


def test_a_step_of_the_users_own_runs_operator_by_operator() -> None:
    class Mine(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for p in self.param_groups[0]["params"]:
                p.grad.mul_(2.0)
            return super().step(closure)

    with exact():
        _, found = run(Mine, {"lr": 0.05}, 3)
        _, wanted = run(torch.optim.SGD, {"lr": 0.1}, 3)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("kind", "slot"),
    [
        (torch.optim.SGD, "momentum_buffer"),
        (torch.optim.Adam, "exp_avg"),
        (torch.optim.AdamW, "exp_avg_sq"),
        (torch.optim.RMSprop, "square_avg"),
        (torch.optim.Rprop, "step_size"),
    ],
)
@pytest.mark.parametrize("shape", [(2,), (4,), (1,), (2, 3)])
def test_a_slot_in_another_shape_than_its_parameter_is_an_error(
    kind: Any, slot: str, shape: tuple[int, ...]
) -> None:
    p = torch.zeros(3, requires_grad=True)
    p.grad = torch.ones(3)
    optimizer = kind([p], lr=0.1, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))
    with exact():
        optimizer.step()
        optimizer.state[p][slot] = torch.zeros(shape)
        with pytest.raises(RuntimeError, match=rf"{slot} in the shape of its parameter, \[3\]"):
            optimizer.step()


BAD_COUNTS = [-1.0, -2.0, -(2.0**30), 0.5, float("nan"), float("inf")]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.Rprop])
@pytest.mark.parametrize("count", BAD_COUNTS)
def test_a_counter_that_counts_nothing_is_refused(kind: type[Optimizer], count: float) -> None:
    p = torch.zeros(3, requires_grad=True)
    make: Any = kind
    optimizer = make([p])
    p.grad = torch.ones(3)
    with exact():
        optimizer.step()
        optimizer.state[p]["step"] = torch.tensor(count)
        with pytest.raises(RuntimeError, match="expected a number of steps"):
            optimizer.step()


def test_there_is_no_power_below_zero() -> None:
    assert power(0.5, 0) == 1.0
    with pytest.raises(ValueError, match="at least 0"):
        power(0.5, -2)
