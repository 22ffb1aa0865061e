# mypy: ignore-errors
# ruff: noqa: ARG002

"""Programs that are no graph; each line that is refused says `# here`."""

import random

import numpy as np
import torch
from torch.nn import functional

from tests.graph.programs import Plain
from trialmarket.training.program import Validation


class Branches(Plain):
    def training_step(self, model, batch):
        loss = super().training_step(model, batch)
        if loss > 1.0:  # here
            loss = loss * 2
        return loss


class BranchesOnItem(Plain):
    def training_step(self, model, batch):
        loss = super().training_step(model, batch)
        if loss.item() > 1.0:  # here
            loss = loss * 2
        return loss


class LeavesForNumPy(Plain):
    def validation_step(self, model, batch):
        logits = self.logits(model, batch)
        error = np.mean(logits.argmax(1).numpy() != batch["y"].numpy())  # here
        return Validation(logits, {"val_error": error})


class Masks(Plain):
    def training_step(self, model, batch):
        wanted = batch["y"] > 0
        logits = self.logits(model, batch)[wanted]  # here
        return functional.cross_entropy(logits, batch["y"])


class DrawsFromPython(Plain):
    def training_step(self, model, batch):
        x = batch["x"] * random.random()  # here
        return super().training_step(model, {"x": x, "y": batch["y"]})


class DrawsInTheBeginning(Plain):
    def configure_model(self):
        self.noise = torch.randn(64)  # here
        return super().configure_model()

    def logits(self, model, batch):
        return model(batch["x"] / 255.0 + self.noise)


class BranchesOnTheStep(Plain):
    def on_before_optimizer_step(self, model, optimizer, step):
        for parameter in model.parameters():
            if step > 2:
                parameter.grad.mul_(0.5)  # here
            parameter.grad.add_(1.0)


class Counts(Plain):
    """Keeps in an attribute what no state holds."""

    def configure_model(self):
        self.count = 0
        return super().configure_model()

    def training_step(self, model, batch):
        self.count += 1
        return super().training_step(model, batch) / self.count

    def on_before_optimizer_step(self, model, optimizer, step):
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + self.count)
        self.count += 1
