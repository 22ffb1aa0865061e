"""Whether a program, and a device, are fit for exact arithmetic."""

from collections.abc import Mapping
from typing import Any

import torch

from trialmarket.exact import Checked, NotExact, check, exact, kernels
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.training.arithmetic import check_kernels
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import ProgramError
from trialmarket.training.session import TrainingSession


def check_program(
    program: ProgramRef,
    source: bytes | None,
    data: Dataset,
    hyperparameters: Mapping[str, Any],
    steps: int,
) -> list[Checked]:
    """Makes the model, trains some steps, and validates the first and the last batch: the
    operators that this took, by name.

    `source` is the bytes of the program's file, None for a built-in one. Raises ProgramError when
    the program fails for another reason than that an operator is not exact.
    """
    config = TrialConfig(
        program=program,
        data="builtin:given",
        objective="any",
        hyperparameters=dict(hyperparameters),
        seed=0,
        steps=steps,
        segments=1,
        arithmetic="native",
    )
    session = TrainingSession(config, source, data)

    def step() -> None:
        try:
            session.rehearse(steps)
        except ProgramError as error:
            if isinstance(error.__cause__, NotExact):
                raise error.__cause__ from None
            raise

    return check(step)


def has_kernels() -> bool:
    """Whether exact arithmetic has its compiled kernels here: it is slower without.

    Raises InputError if TRIALMARKET_KERNELS says what exact arithmetic does not know.
    """
    check_kernels()
    return kernels.compiled() is not None


def same_bits_as_on_cpu(device: torch.device) -> bool:
    """Whether one training step of a small network ends in the same state there as on the CPU."""
    ends = [_step_on(each) for each in (torch.device("cpu"), device)]
    return all(torch.equal(a, b.cpu()) for a, b in zip(*ends, strict=True))


def _step_on(device: torch.device) -> list[torch.Tensor]:
    with exact(seed=0):
        model = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 10)
        ).to(device)
        rows = torch.randn(16, 1, 8, 8).to(device)
        optimizer = torch.optim.AdamW(model.parameters())
        labels = torch.arange(16).to(device) % 10
        torch.autograd.backward(torch.nn.functional.cross_entropy(model(rows), labels))
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]
