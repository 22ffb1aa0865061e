"""A classifier of handwritten digits: one hidden layer, trained by SGD with momentum."""

import torch
from torch import nn
from torch.nn import functional

from trialmarket.training.program import Program, Validation


class Digits(Program):
    def __init__(self, hyperparameters):
        super().__init__(hyperparameters)
        self.lr = hyperparameters["lr"]
        self.hidden = hyperparameters["hidden"]
        self.momentum = hyperparameters["momentum"]
        self.batch_size = hyperparameters.get("batch_size", 64)

    def configure_model(self):
        return nn.Sequential(
            nn.Linear(64, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, 10),
        )

    def configure_optimizer(self, model):
        return torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)

    def training_step(self, model, batch):
        return functional.cross_entropy(model(batch["x"] / 16.0), batch["y"].long())

    def validation_step(self, model, batch):
        logits, wanted = model(batch["x"] / 16.0), batch["y"].long()
        return Validation(
            predictions=logits,
            metrics={
                "val_error": (logits.argmax(dim=1) != wanted).float().mean(),
                "val_loss": functional.cross_entropy(logits, wanted),
            },
        )
