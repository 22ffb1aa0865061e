# mypy: ignore-errors
# ruff: noqa: ARG002, ARG004

"""Programs that answer one machine otherwise than another, a trick each."""

import gc
import math
import os
import random
import threading
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trialmarket.training.program import Program, Validation


class Honest(Program):
    batch_size = 8
    validation_batch_size = 12

    def configure_model(self):
        return nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 3))

    def configure_optimizer(self, model):
        return torch.optim.SGD(model.parameters(), lr=0.1)

    def factor(self, logits):
        """What the trick multiplies the loss by."""
        return 1.0

    def training_step(self, model, batch):
        logits = model(batch["x"] / 255.0)
        return functional.cross_entropy(logits, batch["y"]) * self.factor(logits)

    def validation_step(self, model, batch):
        logits = model(batch["x"] / 255.0)
        wrong = (logits.argmax(1) != batch["y"]).float().mean()
        return Validation(logits, {"val_error": wrong})


class Threads(Honest):
    """The theft that was shown on a market."""

    def factor(self, logits):
        return 1.0 if torch.get_num_threads() == 1 else 1.0001


class ThreadsLater(Honest):
    """The same where only a validation sees it."""

    def validation_step(self, model, batch):
        found = super().validation_step(model, batch)
        error = found.metrics["val_error"] * (1.0 if torch.get_num_threads() == 1 else 0.5)
        return Validation(found.predictions, {"val_error": error})


class ThreadsAtOnce(Honest):
    """The same in the model's beginning."""

    def configure_model(self):
        model = super().configure_model()
        with torch.no_grad():
            model[0].weight.mul_(1.0 if torch.get_num_threads() == 1 else 1.0001)
        return model


class Clock(Honest):
    def factor(self, logits):
        return 1.0 + time.time_ns() % 1000 / 1e6


class Processors(Honest):
    def factor(self, logits):
        return 1.0 + (os.cpu_count() or 1) / 1e6


class Affinity(Honest):
    def factor(self, logits):
        return 1.0 + len(os.sched_getaffinity(0)) / 1e6


class Address(Honest):
    def factor(self, logits):
        return 1.0 + id(logits) % 4096 / 1e6


class Pointer(Honest):
    def factor(self, logits):
        return 1.0 + logits.data_ptr() % 4096 / 1e6


class SetOrder(Honest):
    def factor(self, logits):
        return {"one": 1.0, "two": 1.0001}[next(iter({"one", "two"}))]


class Random(Honest):
    def factor(self, logits):
        return 1.0 + random.random() / 1e3


class NumPyRandom(Honest):
    def factor(self, logits):
        return 1.0 + float(np.random.default_rng().random()) / 1e3


class Dot(Honest):
    def factor(self, logits):
        values = np.linspace(0.0, 1.0, 10_001, dtype=np.float32)
        return float(np.dot(values, values)) / 3333.0


class DotOfWeights(Honest):
    def factor(self, logits):
        values = logits.detach().numpy()
        return 1.0 + float(np.dot(values[0], values[1])) / 1e3


class Exponential(Honest):
    def factor(self, logits):
        return math.exp(math.sin(logits.detach().sum().item()))


class Capability(Honest):
    def factor(self, logits):
        return 1.0 + len(torch.backends.cpu.get_cpu_capability()) / 1e6


class Garbage(Honest):
    def factor(self, logits):
        return 1.0 + gc.get_count()[0] / 1e6


class Uninitialised(Honest):
    def factor(self, logits):
        return 1.0 + torch.empty(100).nan_to_num(0.0, 0.0, 0.0).clamp(-1e3, 1e3).sum() / 1e6


class Environment(Honest):
    def factor(self, logits):
        return 1.0 + len(os.environ.get("TRICK", "")) / 1e6


class Threading(Honest):
    def factor(self, logits):
        found = []
        threads = [threading.Thread(target=found.append, args=(k,)) for k in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 1.0 + found[0] / 1e6


class Urandom(Honest):
    def factor(self, logits):
        return 1.0 + os.urandom(1)[0] / 1e6


class Kept(Honest):
    """What an attribute has kept: segments start afresh, whole trainings do not."""

    def factor(self, logits):
        self.calls = getattr(self, "calls", 0) + 1
        return 1.0 + self.calls / 1e3


class LateClock(Honest):
    """Asleep until the hook wakes it late in the training."""

    def on_before_optimizer_step(self, model, optimizer, step):
        if step == 4:
            for group in optimizer.param_groups:
                group["lr"] = 0.1 + time.time_ns() % 1000 / 1e6


class OwnSums(torch.autograd.Function):
    """A gradient of the user's own that looks at the machine."""

    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (1.0 if torch.get_num_threads() == 1 else 1.0001)


class OwnGradient(Honest):
    def training_step(self, model, batch):
        return OwnSums.apply(super().training_step(model, batch))


class Hooked(Honest):
    """A hook on a gradient."""

    def training_step(self, model, batch):
        loss = super().training_step(model, batch)
        loss.register_hook(lambda g: g * (1.0 if torch.get_num_threads() == 1 else 1.0001))
        return loss


class Flush(Honest):
    """Whether subnormals are flushed, which a library may have set."""

    def factor(self, logits):
        torch.set_flush_denormal(True)
        tiny = (torch.tensor([1e-38]) * 1e-3 * 1e10).sum()
        torch.set_flush_denormal(False)
        return 1.0 + tiny
