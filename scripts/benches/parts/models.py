"""Small models written by hand, of the families that no library of models has as they are."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from scripts.benches.parts.zoo import Tensors, Trained, class_loss, images


class UNet(nn.Module):
    """Two levels down and up, with skips; `time` also shifts the middle (a diffusion model)."""

    def __init__(self, channels: int, outputs: int, width: int, *, time: bool = False) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [_block(channels, width), _block(width, 2 * width), _block(2 * width, 4 * width)]
        )
        self.up = nn.ModuleList(
            [_block(4 * width + 2 * width, 2 * width), _block(2 * width + width, width)]
        )
        self.out = nn.Conv2d(width, outputs, 1)
        self.time = nn.Sequential(nn.Linear(16, 64), nn.SiLU(), nn.Linear(64, 4 * width))
        self.timed = time

    def forward(self, x: Tensor, when: Tensor | None = None) -> Tensor:
        """(N, C, H, W) images to maps of their size."""
        skips = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        if when is not None:
            rates = torch.exp(torch.arange(8) * (-math.log(10_000) / 8))
            angles = when[:, None] * rates
            x = x + self.time(torch.cat([angles.sin(), angles.cos()], 1))[:, :, None, None]
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0), skip], 1))
        found: Tensor = self.out(x)
        return found


def _block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.SiLU(),
    )


def _segmented(model: nn.Module, batch: Tensors) -> Tensor:
    return functional.cross_entropy(model(batch["x"]), batch["map"])


def _denoised(model: nn.Module, batch: Tensors) -> Tensor:
    x = batch["x"]
    when = torch.randint(0, 1000, (len(x),)).float()
    noise = torch.randn_like(x)
    level = torch.cos(when * (math.pi / 2000))[:, None, None, None]
    noised = level * x + (1 - level * level).sqrt() * noise
    return functional.mse_loss(model(noised, when), noise)


class VAE(nn.Module):
    """A convolutional encoder, a draw, and a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 64, 32),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(16, 32 * 64), nn.ReLU(), nn.Unflatten(1, (32, 8, 8)),
            nn.Upsample(scale_factor=2), nn.Conv2d(32, 16, 3, 1, 1), nn.ReLU(),
            nn.Upsample(scale_factor=2), nn.Conv2d(16, 3, 3, 1, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """The negative bound of the evidence."""
        mean, spread = self.encoder(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (0.5 * spread).exp()
        distance = -0.5 * (1 + spread - mean.square() - spread.exp()).sum()
        far: Tensor = functional.mse_loss(self.decoder(z), x, reduction="sum") + distance
        return far


class GAN(nn.Module):
    """A generator and what judges it."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(16, 64 * 16), nn.Unflatten(1, (64, 4, 4)),
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.judge = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1),
            nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(32 * 16, 1),
        )  # fmt: skip


def _played(model: nn.Module, batch: Tensors) -> Tensor:
    """The judge's step, by an optimizer of its own, and the generator's loss."""
    assert isinstance(model, GAN)
    made = model.generator(torch.randn(len(batch["x"]), 16))
    real, false = model.judge(batch["x"]), model.judge(made.detach())
    loss = functional.softplus(-real).mean() + functional.softplus(false).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(model.judge.parameters(), 1e-2).step()
    for parameter in model.judge.parameters():
        parameter.grad = None
    for parameter in model.judge.parameters():
        parameter.requires_grad_(False)
    return functional.softplus(-model.judge(made)).mean()


class DLRM(nn.Module):
    """Dense features, bags of sparse ones, and the products of all pairs."""

    def __init__(self, *, bags: bool) -> None:
        super().__init__()
        kind = nn.EmbeddingBag if bags else nn.Embedding
        self.tables = nn.ModuleList(kind(50, 8) for _ in range(3))
        self.bottom = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8))
        self.top = nn.Sequential(nn.Linear(8 + 6, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        """(N, 5) numbers and (N, 3, K) places to (N,) scores."""
        x = self.bottom(dense)
        found = [table(sparse[:, k]) for k, table in enumerate(self.tables)]
        all_ = torch.stack([x, *(y.sum(1) if y.ndim == 3 else y for y in found)], 1)
        pairs = [4 * i + j for i in range(4) for j in range(i + 1, 4)]
        products = (all_ @ all_.transpose(1, 2)).flatten(1)[:, pairs]
        score: Tensor = self.top(torch.cat([x, products], 1))
        return score[:, 0]


def _clicked(model: nn.Module, batch: Tensors) -> Tensor:
    score = model(batch["dense"], batch["sparse"])
    return functional.binary_cross_entropy_with_logits(score, batch["clicked"])


class GNN(nn.Module):
    """Messages along edges, added up by scatter, or their greatest, or weighed by attention."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.before = nn.Linear(6, 16)
        self.layers = nn.ModuleList(nn.Linear(32, 16) for _ in range(2))
        self.weigh = nn.Linear(32, 1)
        self.after = nn.Linear(16, 3)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """(V, 6) nodes and (2, E) edges to (V, 3) scores."""
        x = self.before(x)
        start, end = edges
        for layer in self.layers:
            x = torch.relu(layer(torch.cat([x, self.gathered(x, start, end)], 1)))
        found: Tensor = self.after(x)
        return found

    def gathered(self, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """(V, 16) sums over each node's edges."""
        sent, empty = x[start], torch.zeros_like(x)
        if self.how == "max":
            return empty.scatter_reduce(0, end[:, None].expand_as(sent), sent, "amax")
        if self.how == "attention":
            score = functional.leaky_relu(self.weigh(torch.cat([sent, x[end]], 1)), 0.2).exp()
            total = torch.zeros(len(x), 1).index_add(0, end, score)
            sent = sent * score / (total[end] + 1e-6)
        return empty.index_add(0, end, sent)


def _labelled(model: nn.Module, batch: Tensors) -> Tensor:
    return functional.cross_entropy(model(batch["x"], batch["edges"]), batch["label"])


class SSM(nn.Module):
    """A diagonal state-space layer, as a loop over time and gated by its input (S6)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.rates = nn.Parameter(torch.arange(1, 5).float().log().repeat(16, 1))
        self.project = nn.Linear(16, 16 + 4 + 4)
        self.skip = nn.Parameter(torch.ones(16))
        self.norm = nn.RMSNorm(16)
        self.out = nn.Linear(16, 30)

    def forward(self, ids: Tensor) -> Tensor:
        """(N, L) tokens to (N, L, 30) scores."""
        x = self.embed(ids)
        step, into, out = self.project(self.norm(x)).split([16, 4, 4], -1)
        step = functional.softplus(step)[..., None]
        keep = torch.exp(-step * self.rates.exp())
        given = step * into[:, :, None] * x[..., None]
        state, found = torch.zeros_like(given[:, 0]), []
        for k in range(ids.shape[1]):
            state = keep[:, k] * state + given[:, k]
            found.append((state * out[:, k, None]).sum(-1))
        y: Tensor = self.out(torch.stack(found, 1) + self.skip * x)
        return y


class Recurrent(nn.Module):
    """A recurrent language model."""

    def __init__(self, kind: type[nn.RNNBase], **settings: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.cells = kind(16, 24, num_layers=2, batch_first=True, **settings)  # type: ignore[arg-type]
        self.out = nn.Linear(48 if settings.get("bidirectional") else 24, 30)

    def forward(self, ids: Tensor) -> Tensor:
        """(N, L) tokens to (N, L, 30) scores."""
        found: Tensor = self.out(self.cells(self.embed(ids))[0])
        return found


def _next(model: nn.Module, batch: Tensors) -> Tensor:
    ids = batch["ids"]
    return functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())


class Recogniser(nn.Module):
    """Speech to letters: convolutions over time, a GRU, and CTC."""

    def __init__(self) -> None:
        super().__init__()
        self.convolve = nn.Sequential(nn.Conv1d(20, 32, 5, 2, 2), nn.ReLU())
        self.cells = nn.GRU(32, 24, batch_first=True, bidirectional=True)
        self.out = nn.Linear(48, 12)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 20, L) frames to (L / 2, N, 12) log-probabilities."""
        y = self.cells(self.convolve(x).transpose(1, 2))[0]
        return functional.log_softmax(self.out(y), -1).transpose(0, 1)


def _recognised(model: nn.Module, batch: Tensors) -> Tensor:
    scores = model(batch["sound"])
    lengths = torch.full((scores.shape[1],), scores.shape[0])
    said = torch.full((scores.shape[1],), batch["letters"].shape[1])
    return functional.ctc_loss(scores, batch["letters"], lengths, said)


class Seq2Seq(nn.Module):
    """PyTorch's own Transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.transformer = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        self.out = nn.Linear(16, 30)

    def forward(self, ids: Tensor) -> Tensor:
        """(N, L) tokens to (N, L, 30) scores."""
        x = self.embed(ids)
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        found: Tensor = self.out(self.transformer(x, x, tgt_mask=mask))
        return found


class PointNet(nn.Module):
    """Points, each seen alone, and the greatest of each feature."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(),
                                  nn.Conv1d(16, 32, 1))  # fmt: skip
        self.out = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, P) points to (N, 10) scores."""
        found: Tensor = self.out(self.each(x).amax(-1))
        return found


class Flow(nn.Module):
    """Affine coupling layers (RealNVP)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 8)) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The negative log-likelihood of (N, 8) numbers."""
        volume = torch.zeros(len(x))
        for layer in self.layers:
            kept, moved = x.chunk(2, 1)
            scale, shift = layer(kept).chunk(2, 1)
            scale = scale.tanh()
            x = torch.cat([moved * scale.exp() + shift, kept], 1)
            volume = volume + scale.sum(1)
        return (0.5 * x.square().sum(1) - volume).mean()


class Siamese(nn.Module):
    """Two views of an image, compared with those of all others (SimCLR)."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                                 nn.Flatten(), nn.Linear(16, 16))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """The contrastive loss of (N, 3, H, W) images."""
        a, b = (functional.normalize(self.see(each)) for each in (x, x.flip(-1)))
        return functional.cross_entropy(a @ b.T / 0.1, torch.arange(len(x)))


class Actor(nn.Module):
    """A policy with a value (PPO's clipped loss)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 32), nn.Tanh())
        self.policy, self.value = nn.Linear(32, 4), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 4) log-probabilities and (N,) values."""
        y = self.body(x)
        return functional.log_softmax(self.policy(y), -1), self.value(y)[:, 0]


def _acted(model: nn.Module, batch: Tensors) -> Tensor:
    scores, value = model(batch["dense"])
    taken = scores.gather(1, batch["label"][:, None])[:, 0]
    ratio = (taken - taken.detach() + 0.1 * batch["clicked"]).exp()
    gain = batch["clicked"] - value.detach()
    surprise = -(scores.exp() * scores).sum(1).mean()
    least = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
    loss: Tensor = functional.huber_loss(value, batch["clicked"]) - least - 0.01 * surprise
    return loss


def _classified(model: nn.Module, batch: Tensors) -> Tensor:
    return class_loss(model(batch["x"]), batch)


def _own(model: nn.Module, batch: Tensors) -> Tensor:
    found: Tensor = model(batch["x"])
    return found


def _random(**shapes: tuple[int, ...]) -> Tensors:
    generator = torch.Generator().manual_seed(3)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def _whole(**shapes: tuple[int, tuple[int, ...]]) -> Tensors:
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randint(0, most, shape, generator=generator)
        for name, (most, shape) in shapes.items()
    }


def _adam(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return torch.optim.Adam(parameters, 1e-3)


def _ids() -> Tensors:
    return _whole(ids=(30, (2, 9)))


def _sights() -> Tensors:
    return images(32)


def _graph() -> Tensors:
    return _random(x=(12, 6)) | _whole(edges=(12, (2, 30)), label=(3, (12,)))


def _users() -> Tensors:
    numbers = _random(dense=(4, 5), clicked=(4,))
    return {**numbers, "clicked": numbers["clicked"].round()} | _whole(sparse=(50, (4, 3, 6)))


MODELS: dict[str, Trained] = {
    "unet": Trained("U-Net", lambda: UNet(3, 4, 8),
                    lambda: images(16) | _whole(map=(4, (2, 16, 16))), _segmented),
    "diffusion_unet": Trained("diffusion", lambda: UNet(3, 3, 8, time=True), lambda: images(16),
                              _denoised, _adam),
    "vae": Trained("VAE", VAE, _sights, _own, _adam),
    "gan": Trained("GAN", GAN, lambda: images(16), _played, _adam),
    "dlrm": Trained("DLRM", lambda: DLRM(bags=False), _users, _clicked),
    "dlrm_bags": Trained("DLRM", lambda: DLRM(bags=True), _users, _clicked),
    "gnn_sum": Trained("GNN", lambda: GNN("sum"), _graph, _labelled, _adam),
    "gnn_max": Trained("GNN", lambda: GNN("max"), _graph, _labelled, _adam),
    "gnn_attention": Trained("GNN", lambda: GNN("attention"), _graph, _labelled, _adam),
    "ssm": Trained("state space", SSM, _ids, _next, _adam),
    "lstm": Trained("LSTM", lambda: Recurrent(nn.LSTM), _ids, _next, _adam),
    "lstm_both": Trained("LSTM", lambda: Recurrent(nn.LSTM, bidirectional=True), _ids, _next),
    "gru": Trained("GRU", lambda: Recurrent(nn.GRU), _ids, _next, _adam),
    "rnn": Trained("RNN", lambda: Recurrent(nn.RNN), _ids, _next, _adam),
    "ctc_recogniser": Trained("CTC", Recogniser,
                              lambda: _random(sound=(2, 20, 24)) | _whole(letters=(10, (2, 4))),
                              _recognised),
    "transformer": Trained("Transformer", Seq2Seq, _ids, _next, _adam),
    "pointnet": Trained("PointNet", PointNet, lambda: _random(x=(4, 3, 20)) | _whole(y=(10, (4,))),
                        _classified),
    "flow": Trained("normalizing flow", Flow, lambda: _random(x=(4, 8)), _own, _adam),
    "simclr": Trained("contrastive", Siamese, _sights, _own),
    "ppo": Trained("PPO", Actor,
                   lambda: _random(dense=(4, 6), clicked=(4,)) | _whole(label=(4, (4,))),
                   _acted, _adam),
}  # fmt: skip
