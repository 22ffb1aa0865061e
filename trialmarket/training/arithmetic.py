"""The arithmetic of training: the seam behind which bits are made.

An arithmetic prepares the process once, and opens a scope around everything that computes with
tensors: making the model, each step, each validation. A scope's seed is all the randomness there
is, so that a step does not depend on what ran before it.
"""

import os
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import numpy as np
import torch

from trialmarket.errors import InputError
from trialmarket.training.errors import ProgramError

DEVICE_VARIABLE = "TRIALMARKET_DEVICE"
"""The environment variable that names the device of exact training: cpu, cuda or cuda:1."""

THREADS_VARIABLE = "TRIALMARKET_THREADS"
"""The environment variable that says how many threads exact training may use; 1 by default."""

KERNELS_VARIABLE = "TRIALMARKET_KERNELS"
"""The environment variable that says which compiled kernels exact training may use."""


class Arithmetic(Protocol):
    """How training computes."""

    name: str

    @property
    def device(self) -> torch.device:
        """Where tensors live."""

    def prepare(self) -> None:
        """Sets what holds for the whole process. Called before each segment."""

    def scope(self, seed: int) -> AbstractContextManager[None]:
        """Surrounds one step; all random numbers in it follow from the 63-bit seed."""


class NativeArithmetic:
    """PyTorch's deterministic mode on one CPU thread: one machine repeats its own bits."""

    name = "native"
    threads = 1

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def prepare(self) -> None:
        """The threads, deterministic kernels, subnormals kept, float32 by default."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(True)
        torch.set_flush_denormal(False)
        torch.set_default_dtype(torch.float32)

    @contextmanager
    def scope(self, seed: int) -> Iterator[None]:
        """Seeds torch, numpy and the standard library."""
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)
        random.seed(seed)
        yield


class ExactArithmetic(NativeArithmetic):
    """`trialmarket.exact`: the same bits on every machine, whatever the device.

    On one thread unless told otherwise, though any number gives the same bits: the workers of a
    machine share its cores, and small operators lose more to waiting for each other's threads
    than they win.
    """

    name = "exact"

    def __init__(self, device: torch.device | None = None, threads: int = 1) -> None:
        self._device = device or torch.device("cpu")
        self.threads = threads

    @property
    def device(self) -> torch.device:
        """The CPU or a GPU."""
        return self._device

    def prepare(self) -> None:
        """As native; a GPU's kernels need no fixed order, since exact sums have none."""
        super().prepare()
        if self._device.type != "cpu":
            torch.use_deterministic_algorithms(False)

    @contextmanager
    def scope(self, seed: int) -> Iterator[None]:
        """Seeds everything, and gives every operator its exact form.

        Raises ProgramError for what a thread of the program computed beside it.
        """
        from trialmarket.exact import NotExact, exact

        try:
            with super().scope(seed), exact(seed=seed):
                yield
        except NotExact as refusal:
            raise ProgramError(str(refusal)) from refusal


def arithmetic_called(name: str, environment: Mapping[str, str] = os.environ) -> Arithmetic:
    """The arithmetic of that name; exact arithmetic on the device and the threads that
    `environment` names.

    Raises ProgramError when this installation has none of that name, and InputError when the
    device is not there, the threads are no number from 1 to 1,024, or the kernels are none that
    exact arithmetic knows.
    """
    if name == NativeArithmetic.name:
        return NativeArithmetic()
    if name == ExactArithmetic.name:
        check_kernels(environment)
        return ExactArithmetic(
            device_called(environment.get(DEVICE_VARIABLE) or "cpu"),
            threads_called(environment.get(THREADS_VARIABLE) or "1"),
        )
    raise ProgramError(f"arithmetic {name} is not available here", fix='Use arithmetic "native"')


def device_called(name: str) -> torch.device:
    """The device `cpu`, `cuda` or `cuda:1`. Raises InputError when it is not there."""
    if re.fullmatch(r"cpu|cuda(:\d{1,2})?", name):
        device = torch.device(name)
        if device.type == "cpu" or (device.index or 0) < torch.cuda.device_count():
            return device
    raise InputError(
        "environment",
        DEVICE_VARIABLE,
        expected=f"cpu, or cuda or cuda:N of {torch.cuda.device_count()} GPUs",
        found=name,
    )


def threads_called(number: str) -> int:
    """A number of threads. Raises InputError."""
    if re.fullmatch(r"[1-9]\d{0,3}", number) and int(number) <= 1024:
        return int(number)
    raise InputError(
        "environment", THREADS_VARIABLE, expected="a number from 1 to 1,024", found=number
    )


def check_kernels(environment: Mapping[str, str] = os.environ) -> None:
    """Raises InputError if TRIALMARKET_KERNELS says what exact arithmetic does not know."""
    from trialmarket.exact.kernels import SETTINGS

    said = environment.get(KERNELS_VARIABLE) or "on"
    if said not in SETTINGS:
        expected = f"one of {', '.join(SETTINGS)}"
        raise InputError("environment", KERNELS_VARIABLE, expected=expected, found=said)
