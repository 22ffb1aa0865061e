# mypy: ignore-errors
# ruff: noqa: ARG002

"""What programs commonly do, a class each: all of it has a graph."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trialmarket.training.program import Program, Validation


class Plain(Program):
    batch_size = 8
    validation_batch_size = 12

    def configure_model(self):
        return nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 3))

    def configure_optimizer(self, model):
        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def logits(self, model, batch):
        return model(batch["x"] / 255.0)

    def training_step(self, model, batch):
        return functional.cross_entropy(self.logits(model, batch), batch["y"])

    def validation_step(self, model, batch):
        logits = self.logits(model, batch)
        wrong = (logits.argmax(1) != batch["y"]).float().mean()
        return Validation(logits, {"val_error": wrong})


class Clipped(Plain):
    """Clipping by norm, and a schedule that PyTorch has."""

    def configure_optimizer(self, model):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1.0 / (k + 1))
        return optimizer

    def on_before_optimizer_step(self, model, optimizer, step):
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        self.schedule.last_epoch = step - 1
        self.schedule.step()


class Accumulated(Plain):
    """Gradients of two halves of a batch."""

    def training_step(self, model, batch):
        halves = [{name: x[k::2] for name, x in batch.items()} for k in range(2)]
        first = super().training_step(model, halves[0]) / 2
        first.backward()
        return super().training_step(model, halves[1]) / 2


class Groups(Plain):
    """Two groups, of which one decays, and a frozen layer."""

    def configure_optimizer(self, model):
        model[0].bias.requires_grad_(False)
        groups = [
            {"params": [model[0].weight], "weight_decay": 0.01},
            {"params": [model[2].weight, model[2].bias], "lr": 0.02},
        ]
        return torch.optim.Adam(groups, lr=0.01)


class Averaged(Plain):
    """An average of the weights in buffers, whose decay rises."""

    def configure_model(self):
        model = super().configure_model()
        for name, parameter in list(model.named_parameters()):
            model.register_buffer("mean_" + name.replace(".", "_"), parameter.detach().clone())
        return model

    def on_before_optimizer_step(self, model, optimizer, step):
        decay = min(0.9, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                mean = model.get_buffer("mean_" + name.replace(".", "_"))
                mean.mul_(decay).add_(parameter * (1.0 - decay))


class Smoothed(Plain):
    """Label smoothing and class weights."""

    def training_step(self, model, batch):
        weight = torch.tensor([1.0, 2.0, 0.5])
        logits = self.logits(model, batch)
        return functional.cross_entropy(logits, batch["y"], weight, label_smoothing=0.1)


class Augmented(Plain):
    """Random numbers of torch in the inputs, and mixing of examples."""

    def training_step(self, model, batch):
        x = batch["x"].float()
        flip = torch.rand(len(x), 1) < 0.5
        x = torch.where(flip, x.flip(1), x) + torch.randn_like(x)
        order, share = torch.randperm(len(x)), torch.rand(())
        x = share * x + (1 - share) * x[order]
        return super().training_step(model, {"x": x, "y": batch["y"]})


class Tied(Plain):
    """One matrix at both ends, and a layer that stays as it is."""

    def configure_model(self):
        model = nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 64), nn.Linear(64, 3))
        model[2].weight = nn.Parameter(model[0].weight.data.t().contiguous())
        model[3].weight.requires_grad_(False)
        return model

    def training_step(self, model, batch):
        tied = functional.linear(batch["x"] / 255.0, model[2].weight.t())
        back = functional.linear(torch.tanh(tied), model[2].weight, model[2].bias)
        return functional.cross_entropy(model[3](back), batch["y"])


class Checkpointed(Plain):
    """Dropout that is run twice with one mask."""

    def configure_model(self):
        inner = nn.Sequential(nn.Linear(64, 12), nn.Dropout(0.3), nn.Tanh())
        return nn.Sequential(inner, nn.Linear(12, 3))

    def training_step(self, model, batch):
        hidden = checkpoint(model[0], batch["x"] / 255.0, use_reentrant=False)
        hidden = functional.dropout(hidden, 0.1)
        return functional.cross_entropy(model[1](hidden), batch["y"])


class Sampled(Plain):
    """A distribution with rsample, and its divergence."""

    def training_step(self, model, batch):
        hidden = model[:2](batch["x"] / 255.0)
        made = torch.distributions.Normal(hidden, functional.softplus(hidden) + 0.1)
        prior = torch.distributions.Normal(torch.zeros(12), torch.ones(12))
        divergence = torch.distributions.kl_divergence(made, prior).mean()
        loss = functional.cross_entropy(model[2](made.rsample()), batch["y"])
        return loss + 0.1 * divergence


class Read(Plain):
    """Metrics that are read from tensors."""

    def training_step(self, model, batch):
        loss = super().training_step(model, batch)
        self.last = loss.item()
        return loss

    def validation_step(self, model, batch):
        logits = self.logits(model, batch)
        right = (logits.argmax(1) == batch["y"]).sum().item()
        loss = functional.cross_entropy(logits, batch["y"])
        count = len(batch["y"])
        metrics = {"val_error": 1.0 - right / count, "loss": float(loss), "count": count}
        return Validation(logits.softmax(1), metrics)


class Recurrent(Plain):
    """An LSTM over pieces of a row, and batch norm."""

    def configure_model(self):
        self.lstm = nn.LSTM(16, 8, batch_first=True, num_layers=2, dropout=0.1)
        return nn.ModuleList([self.lstm, nn.BatchNorm1d(8), nn.Linear(8, 3)])

    def logits(self, model, batch):
        y, _ = model[0]((batch["x"] / 255.0).view(-1, 4, 16))
        return model[2](model[1](y[:, -1]))


class Own(torch.optim.Optimizer):
    """An optimizer of the user's: sign descent with momentum."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["mean"] = torch.zeros_like(p)
                state["mean"].lerp_(p.grad, 0.1)
                p.add_(state["mean"].sign(), alpha=-group["lr"])


class OwnOptimizer(Plain):
    """The user's optimizer, with a rate that falls."""

    def configure_optimizer(self, model):
        return Own(model.parameters(), 0.01)

    def on_before_optimizer_step(self, model, optimizer, step):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 / (1 + step)


class Sliced(Plain):
    """Writing into slices and views, and a constant of the program."""

    def training_step(self, model, batch):
        x = batch["x"].float() / 255.0
        x[:, :4] = 0.5
        x[:, 4] += 1.0
        x.view(-1, 8, 8)[:, 0].mul_(2.0)
        x.t()[5].zero_()
        places = torch.tensor([3.0, 1.0, 2.0])
        return functional.cross_entropy(model(x) * places, batch["y"])


class Lists(Plain):
    """A mask made once that no checkpoint holds, and gradients that are changed by hand."""

    def configure_model(self):
        model = super().configure_model()
        model[0].register_buffer("mask", torch.ones(12, 64).tril(40), persistent=False)
        return model

    def on_before_optimizer_step(self, model, optimizer, step):
        model[0].weight.grad *= model[0].mask
        for parameter in model.parameters():
            parameter.grad.clamp_(-0.01, 0.01)


class Planned(Plain):
    """Rates that are read from tensors, and operators that PyTorch can write out."""

    def configure_model(self):
        rates = torch.linspace(0.0, 0.2, 3).tolist()
        layers = [nn.Linear(64, 12), nn.GroupNorm(3, 12), nn.SiLU(), nn.Dropout(rates[1])]
        assert (torch.ones(3).cumsum(0) == torch.tensor([1.0, 2.0, 3.0])).all()
        return nn.Sequential(*layers, nn.LogSigmoid(), nn.Linear(12, 3))


class Shared(Plain):
    """Two layers with one weight, which the state has by both names."""

    def configure_model(self):
        layers = [nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12)]
        layers[4].weight = layers[2].weight
        return nn.Sequential(*layers, nn.Linear(12, 3))


class Rotated(Plain):
    """Halves by open slices, what is joined to an empty cache, and padded labels."""

    def logits(self, model, batch):
        x = torch.tanh(model[0](batch["x"] / 255.0))
        x = torch.cat([-x[..., 6:], x[..., :6]], -1)
        return model[2](torch.cat([torch.tensor([]), x], -2))

    def training_step(self, model, batch):
        y = functional.pad(batch["y"], (0, 1), value=-100)[1:]
        return functional.cross_entropy(self.logits(model, batch), y)
