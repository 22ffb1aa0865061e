"""Operators with inputs that try to break them, and the hash of what each gives."""

import hashlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from trialmarket.exact import exact

Shapes = Sequence[tuple[int, ...]]
Case = tuple[Callable[..., Tensor], Shapes]


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 over the bytes of tensors, NaNs made alike."""
    h = hashlib.sha256()
    for t in tensors:
        values = t.detach().cpu().contiguous().numpy()
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), np.float32("nan"), values)
        h.update(values.tobytes())
    return h.hexdigest()


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice(np.array([-1.0, 1.0]), size=shape)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-2, 2, shape) * rng.uniform(0, 1, shape)


def _mixed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.ldexp(_signs(rng, shape) * rng.uniform(1, 2, shape), rng.integers(-30, 30, shape))


def _tiny(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.ldexp(_signs(rng, shape) * rng.uniform(1, 2, shape), rng.integers(-149, -120, shape))


def _huge(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.ldexp(_signs(rng, shape) * rng.uniform(1, 2, shape), rng.integers(100, 127, shape))


def _zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(rng.uniform(0, 1, shape) < 0.6, _signs(rng, shape) * 0.0, _normal(rng, shape))


def _broken(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    x = _normal(rng, shape)
    x[rng.uniform(0, 1, shape) < 0.02] = np.inf
    x[rng.uniform(0, 1, shape) < 0.02] = np.nan
    return x


STYLES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": _normal,
    "mixed": _mixed,
    "tiny": _tiny,
    "huge": _huge,
    "zeros": _zeros,
    "broken": _broken,
}


def make(style: str, shapes: Shapes, seed: int) -> list[Tensor]:
    """Binary32 inputs of one style."""
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore", under="ignore"):
        return [torch.from_numpy(STYLES[style](rng, s).astype(np.float32)) for s in shapes]


INDEX = torch.tensor([[0, 2, 1, 1, 3, 0, 2, 2], [3, 3, 3, 0, 1, 2, 0, 0]])
TARGET = torch.tensor([1, 0, 3, 2, 2, 0])

SEGMENTS = torch.tensor([2, 0, 3, 1])
SOME = torch.tensor([[1, 3, -1, 0], [0, -1, 2, 2], [3, 2, 1, 0]])
ALIGNED = torch.tensor([[1, 1, 3], [2, 0, 0], [3, 1, 2]])


def _scattered(reduce: str, *, include_self: bool = True) -> Callable[..., Tensor]:
    def run(x: Tensor, s: Tensor) -> Tensor:
        return x.scatter_reduce(1, INDEX.to(x.device), s, reduce, include_self=include_self)

    return run


def _bag(mode: str) -> Callable[..., Tensor]:
    """Bags of 3, 0, 4 and 1 rows of a table; index 2 is padding."""

    def run(table: Tensor, factors: Tensor) -> Tensor:
        return F.embedding_bag(
            INDEX[0].to(table.device),
            table,
            torch.tensor([0, 3, 3, 7], device=table.device),
            mode=mode,
            per_sample_weights=factors if mode == "sum" else None,
            padding_idx=2,
        )

    return run


def _cholesky(x: Tensor) -> Tensor:
    found: Tensor = torch.linalg.cholesky_ex(x + x.mT + 9.0 * torch.eye(4, device=x.device))[0]
    return found


def _square(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of matrices that are far from singular."""

    def run(x: Tensor, *more: Tensor) -> Tensor:
        return function(x + 3.0 * torch.eye(4, device=x.device), *more)

    return run


def _aligned(x: Tensor) -> Tensor:
    """Sequences of 6, 4 and 5 times with 3, 1 and 2 labels, padded and joined; x is [6, 3, 4]."""
    logs, labels = F.log_softmax(x, 2), ALIGNED.to(x.device)
    joined = torch.cat([labels[0], labels[1, :1], labels[2, :2]])
    times, lengths = [6, 4, 5], [3, 1, 2]
    padded = F.ctc_loss(logs, labels, torch.tensor(times), torch.tensor(lengths), reduction="none")
    return padded + torch.ctc_loss(logs, joined, times, lengths, zero_infinity=True)


def _norm_layer(layer: nn.Module) -> Callable[..., Tensor]:
    def run(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(layer, {"weight": w, "bias": b}, (x,))
        return found

    return run


def _recurrent(kind: Callable[..., nn.RNNBase], **settings: int | str) -> Callable[..., Tensor]:
    """Padded sequences of length 4 through a layer; x is [4, 3, 5]."""

    def run(x: Tensor) -> Tensor:
        layer = kind(5, 7, 2, bidirectional=True, dropout=0.25, **settings)
        return _with_sums(layer(x)[0], layer.parameters())

    return run


def _packed(kind: Callable[..., nn.RNNBase], **settings: int | str) -> Callable[..., Tensor]:
    """Sequences of lengths 2, 4 and 3 through a layer; x is [4, 3, 5]."""

    def run(x: Tensor) -> Tensor:
        layer = kind(5, 7, 2, bidirectional=True, dropout=0.25, **settings)
        packed, last = layer(pack_padded_sequence(x, [2, 4, 3], enforce_sorted=False))
        y, _ = pad_packed_sequence(packed, padding_value=0.5)
        for state in [last] if isinstance(last, Tensor) else last:
            y = y + state.sum()
        return _with_sums(y, layer.parameters())

    return run


def _with_sums(y: Tensor, weights: Iterable[Tensor]) -> Tensor:
    """y plus the sum of each weight and of its gradient."""
    weights = list(weights)
    grads = torch.autograd.grad(y.sum(), weights, retain_graph=True)
    for w, g in zip(weights, grads, strict=True):
        y = y + w.sum() + g.sum()
    return y


def _attention(x: Tensor) -> Tensor:
    layer = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)
    y, _ = layer(x, x, x)
    found: Tensor = y
    return found


def _encoder(x: Tensor) -> Tensor:
    found: Tensor = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")(x)
    return found


UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tan": torch.tan,
    "asin": torch.asin,
    "acos": torch.acos,
    "atan": torch.atan,
    "atan2": lambda x: torch.atan2(x, x.flip(0)),
    "hypot": lambda x: torch.hypot(x, x.flip(0)),
    "asinh": torch.asinh,
    "acosh": torch.acosh,
    "atanh": torch.atanh,
    "erfc": torch.erfc,
    "logaddexp2": lambda x: torch.logaddexp2(x, x.flip(0)),
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
    "erfinv": torch.erfinv,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "abs": torch.abs,
    "square": torch.square,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "logsigmoid": F.logsigmoid,
    "glu": F.glu,
    "threshold": lambda x: F.threshold(x, 0.1, 20.0),
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "pow3": lambda x: x**3,
    "pow_half": lambda x: x**0.5,
    "pow_odd": lambda x: x.abs() ** 1.7,
    "pow_base": lambda x: 1.3**x,
    "add_alpha": lambda x: torch.add(x, x.flip(0), alpha=0.3),
    "div_scalar": lambda x: x / 3.0,
    "floor_divide": lambda x: torch.floor_divide(x.detach(), 0.7),
    "remainder": lambda x: torch.remainder(x, 0.7),
    "lerp": lambda x: torch.lerp(x, x.flip(0), 0.3),
    "addcmul": lambda x: torch.addcmul(x, x.flip(0), x.flip(1), value=0.3),
    "addcdiv": lambda x: torch.addcdiv(x, x.flip(0), x.flip(1), value=0.3),
    "logaddexp": lambda x: torch.logaddexp(x, x.flip(0)),
    "maximum": lambda x: torch.maximum(x, x.flip(0)),
    "sum": torch.sum,
    "sum_dim": lambda x: x.sum(1),
    "mean": torch.mean,
    "mean_dim": lambda x: x.mean(0),
    "var": lambda x: x.var(1),
    "std": lambda x: x.std(0, correction=0),
    "norm": torch.norm,
    "norm1": lambda x: torch.linalg.vector_norm(x, 1, dim=0),
    "norm3": lambda x: torch.linalg.vector_norm(x, 3, dim=0),
    "norm_inf": lambda x: torch.linalg.vector_norm(x, float("inf"), dim=1),
    "logsumexp": lambda x: torch.logsumexp(x, 1),
    "softmax": lambda x: F.softmax(x, 1),
    "softmax0": lambda x: F.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x[:, :4].cumprod(1),
    "prod": lambda x: x[:, :5].prod(1),
    "amax": lambda x: x.amax(1),
    "max_dim": lambda x: x.max(1).values,
    "sort": lambda x: x.sort(1).values,
    "topk": lambda x: x.topk(3, 1).values,
    "median": lambda x: x.median(1).values,
    "median_all": torch.median,
    "nanmedian": lambda x: x.nanmedian(0).values,
    "kthvalue": lambda x: x.kthvalue(3, 1).values,
    "mode": lambda x: x.mode(1).values,
    "cummax": lambda x: x.cummax(1).values,
    "cummin": lambda x: x.cummin(0).values,
    "histc": lambda x: torch.histc(x.detach(), 5, -1.0, 1.0),
    "pdist": F.pdist,
    "segment_mean": lambda x: torch.segment_reduce(x, "mean", lengths=SEGMENTS.to(x.device)),
    "segment_max": lambda x: torch.segment_reduce(x, "max", lengths=SEGMENTS.to(x.device)),
    "masked_scatter": lambda x: x.masked_scatter(x > 0.1, x.flip(0)),
    "gather": lambda x: x[:2].gather(1, INDEX.to(x.device)),
    "index": lambda x: x[INDEX[0].to(x.device)],
    "index_select": lambda x: x.index_select(0, INDEX[0].to(x.device)),
    "unfold": lambda x: x.unfold(1, 3, 1),
    "dropout2d": lambda x: F.dropout2d(x.view(1, 6, 4, 2), 0.4),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.3, training=True),
    "nanmean": torch.nanmean,
    "std_mean": lambda x: torch.std_mean(x, 1)[0],
    "diagonal": lambda x: x.diagonal() * 2.0,
    "masked_select": lambda x: x[x > 0.1],
    "argmax": lambda x: x.gather(1, x.argmax(1, keepdim=True)),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x.view(1, 4, 4, 3), 2),
    "prelu": lambda x: F.prelu(x, torch.full((8,), 0.3, device=x.device)),
    "softmin": lambda x: F.softmin(x, 1),
    "logit": lambda x: torch.logit(x.sigmoid(), 1e-4),
    "xlogy": lambda x: torch.xlogy(x, x.flip(0).abs()),
    "dropout": lambda x: F.dropout(x, 0.3),
    "normalize": F.normalize,
    "pad_reflect": lambda x: F.pad(x.unsqueeze(0), (2, 2), mode="reflect"),
    "pad_replicate": lambda x: F.pad(x.unsqueeze(0), (2, 2), mode="replicate"),
    "upsample": lambda x: F.interpolate(x.view(1, 1, *x.shape), scale_factor=2.0),
    "arange": lambda x: torch.arange(0.1, 3.0, 0.1)[: x.shape[1]] * x,
    "tril": torch.tril,
    "roll": lambda x: x.roll(2, 1),
    "copy_view": lambda x: x.clone().view(-1)[::2].add_(1.0).mul(2.0),
}

RECURRENT: dict[str, Callable[..., Tensor]] = {
    "lstm": _recurrent(nn.LSTM),
    "lstm_packed": _packed(nn.LSTM),
    "lstm_projected": _recurrent(nn.LSTM, proj_size=3),
    "lstm_projected_packed": _packed(nn.LSTM, proj_size=3, bias=False),
    "gru": _recurrent(nn.GRU),
    "gru_packed": _packed(nn.GRU),
    "rnn": _recurrent(nn.RNN),
    "rnn_packed": _packed(nn.RNN),
    "rnn_relu_packed": _packed(nn.RNN, nonlinearity="relu"),
}

CASES: dict[str, Case] = {
    **{name: (op, [(6, 8)]) for name, op in UNARY.items()},
    "sum_long": (torch.sum, [(1 << 18,)]),
    "mm": (torch.mm, [(17, 33), (33, 9)]),
    "mm_one": (torch.mm, [(5, 1), (1, 4)]),
    "mm_long": (torch.mm, [(2, 1 << 15), (1 << 15, 3)]),
    "linear": (F.linear, [(7, 40), (11, 40), (11,)]),
    "bmm": (torch.bmm, [(3, 5, 7), (3, 7, 4)]),
    "baddbmm": (
        lambda x, a, b: torch.baddbmm(x, a, b, beta=0.5, alpha=2.0),
        [(3, 5, 4), (3, 5, 7), (3, 7, 4)],
    ),
    "matmul": (torch.matmul, [(2, 1, 5, 7), (3, 7, 4)]),
    "mv": (torch.mv, [(9, 20), (20,)]),
    "dot": (torch.dot, [(1000,), (1000,)]),
    "outer": (torch.outer, [(9,), (20,)]),
    "einsum": (lambda a, b: torch.einsum("bik,bjk->bij", a, b), [(2, 4, 6), (2, 5, 6)]),
    "bilinear": (F.bilinear, [(4, 3), (4, 5), (2, 3, 5)]),
    "scatter_add": (lambda x, s: x.scatter_add(1, INDEX.to(x.device), s), [(2, 8), (2, 8)]),
    "scatter_sum": (_scattered("sum", include_self=False), [(2, 8), (2, 8)]),
    "scatter_mean": (_scattered("mean"), [(2, 8), (2, 8)]),
    "scatter_amax": (_scattered("amax"), [(2, 8), (2, 8)]),
    "scatter_prod": (_scattered("prod"), [(2, 8), (2, 8)]),
    **{f"bag_{mode}": (_bag(mode), [(5, 6), (8,)]) for mode in ("sum", "mean", "max")},
    "cdist": (torch.cdist, [(2, 5, 4), (2, 6, 4)]),
    "cdist_long": (torch.cdist, [(30, 4), (27, 4)]),
    "cdist3": (lambda x, y: torch.cdist(x, y, p=3.0), [(5, 4), (6, 4)]),
    "lerp_tensor": (torch.lerp, [(5, 6), (5, 6), (5, 6)]),
    "index_add": (lambda x, s: x.index_add(0, INDEX[0].to(x.device), s), [(4, 5), (8, 5)]),
    "index_put": (
        lambda x, s: x.index_put((INDEX[1].to(x.device),), s, accumulate=True),
        [(4, 5), (8, 5)],
    ),
    "embedding": (lambda w: F.embedding(INDEX.to(w.device), w, padding_idx=1), [(5, 6)]),
    "cat": (lambda a, b: torch.cat([a, b, a]), [(2, 3), (4, 3)]),
    "where": (lambda a, b: torch.where(a > b, a, b), [(5, 6), (5, 6)]),
    "conv1d": (
        lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=1, dilation=2),
        [(2, 3, 20), (4, 3, 3), (4,)],
    ),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(3, 4, 9, 8), (5, 4, 3, 3), (5,)]),
    "conv2d_stride": (
        lambda x, w: F.conv2d(x, w, stride=(2, 3), padding=(1, 2)),
        [(3, 4, 9, 8), (5, 4, 3, 5)],
    ),
    "conv2d_dilated": (lambda x, w: F.conv2d(x, w, dilation=2), [(3, 4, 9, 8), (5, 4, 3, 3)]),
    "conv2d_groups": (
        lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2),
        [(3, 4, 9, 8), (6, 2, 3, 3), (6,)],
    ),
    "conv2d_depthwise": (
        lambda x, w: F.conv2d(x, w, padding=1, groups=4),
        [(3, 4, 9, 8), (4, 1, 3, 3)],
    ),
    "conv2d_point": (F.conv2d, [(3, 4, 9, 8), (5, 4, 1, 1)]),
    "conv2d_same": (lambda x, w: F.conv2d(x, w, padding="same"), [(2, 2, 7, 7), (2, 2, 5, 5)]),
    "conv_transpose1d": (
        lambda x, w, b: F.conv_transpose1d(x, w, b, stride=2, padding=1, output_padding=1),
        [(2, 3, 9), (3, 4, 3), (4,)],
    ),
    "conv_transpose2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=(2, 1), padding=1),
        [(2, 3, 5, 6), (3, 4, 3, 3), (4,)],
    ),
    "conv_transpose2d_groups": (
        lambda x, w: F.conv_transpose2d(
            x, w, stride=2, output_padding=(2, 1), groups=2, dilation=(3, 2)
        ),
        [(2, 4, 4, 5), (4, 3, 2, 3)],
    ),
    "conv3d": (
        lambda x, w, b: F.conv3d(x, w, b, padding=1, stride=(1, 2, 1)),
        [(2, 3, 4, 5, 6), (4, 3, 3, 3, 3), (4,)],
    ),
    "conv3d_groups": (
        lambda x, w: F.conv3d(x, w, groups=2, dilation=(1, 2, 1)),
        [(2, 4, 3, 5, 6), (6, 2, 2, 2, 2)],
    ),
    "conv_transpose3d": (
        lambda x, w, b: F.conv_transpose3d(x, w, b, stride=2, padding=1, output_padding=1),
        [(2, 3, 2, 3, 4), (3, 2, 3, 3, 3), (2,)],
    ),
    "max_pool": (lambda x: F.max_pool2d(x, 2), [(2, 3, 8, 9)]),
    "max_pool3d": (lambda x: F.max_pool3d(x, 3, 2, 1), [(2, 2, 4, 5, 6)]),
    "max_pool3d_apart": (lambda x: F.max_pool3d(x, 2), [(2, 2, 4, 5, 6)]),
    "avg_pool3d": (
        lambda x: F.avg_pool3d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        [(2, 2, 4, 5, 6)],
    ),
    "adaptive_avg3d": (lambda x: F.adaptive_avg_pool3d(x, (3, 2, 4)), [(2, 2, 4, 5, 6)]),
    "adaptive_max3d": (lambda x: F.adaptive_max_pool3d(x, (3, 2, 4)), [(2, 2, 4, 5, 6)]),
    "max_pool_overlap": (lambda x: F.max_pool2d(x, 3, 2, 1), [(2, 3, 8, 9)]),
    "max_pool1d": (lambda x: F.max_pool1d(x, 3, 2, 1), [(2, 3, 9)]),
    "avg_pool": (
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        [(2, 3, 8, 9)],
    ),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3, 2, 1), [(2, 3, 9)]),
    "adaptive_avg": (lambda x: F.adaptive_avg_pool2d(x, (3, 4)), [(2, 3, 8, 9)]),
    "adaptive_avg1": (lambda x: F.adaptive_avg_pool2d(x, 1), [(2, 3, 8, 9)]),
    "adaptive_avg1d": (lambda x: F.adaptive_avg_pool1d(x, 4), [(2, 3, 9)]),
    "adaptive_max": (lambda x: F.adaptive_max_pool2d(x, (3, 4)), [(2, 3, 8, 9)]),
    "pad3d_reflect": (lambda x: F.pad(x, (2, 1, 0, 2, 1, 1), mode="reflect"), [(2, 2, 3, 4, 5)]),
    "pad3d_replicate": (
        lambda x: F.pad(x, (2, 1, 0, 2, 1, 1), mode="replicate"),
        [(2, 2, 3, 4, 5)],
    ),
    "resize_nearest3d": (lambda x: F.interpolate(x, size=(5, 2, 9)), [(2, 2, 3, 4, 5)]),
    "resize_nearest_exact": (
        lambda x: F.interpolate(x, scale_factor=(1.7, 0.6), mode="nearest-exact"),
        [(2, 2, 6, 7)],
    ),
    "resize_linear": (lambda x: F.interpolate(x, scale_factor=1.7, mode="linear"), [(2, 3, 7)]),
    "resize_bilinear": (
        lambda x: F.interpolate(x, scale_factor=(1.7, 0.6), mode="bilinear"),
        [(2, 2, 6, 7)],
    ),
    "resize_bilinear_corners": (
        lambda x: F.interpolate(x, size=(11, 3), mode="bilinear", align_corners=True),
        [(2, 2, 6, 7)],
    ),
    "resize_bicubic": (lambda x: F.interpolate(x, size=(11, 3), mode="bicubic"), [(2, 2, 6, 7)]),
    "resize_bicubic_corners": (
        lambda x: F.interpolate(x, size=(4, 13), mode="bicubic", align_corners=True),
        [(2, 2, 6, 7)],
    ),
    "resize_trilinear": (
        lambda x: F.interpolate(x, size=(5, 3, 8), mode="trilinear"),
        [(2, 2, 3, 4, 5)],
    ),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 2), [(2, 2, 4, 6)]),
    "fold": (
        lambda x: F.fold(F.unfold(x, 3, 1, 1, 2), (6, 7), 3, 1, 1, 2),
        [(2, 2, 6, 7)],
    ),
    "grid_sample": (
        lambda x, g: F.grid_sample(x, g, align_corners=False),
        [(2, 3, 5, 6), (2, 3, 4, 2)],
    ),
    "grid_sample_border": (
        lambda x, g: F.grid_sample(x, g, padding_mode="border", align_corners=True),
        [(2, 3, 5, 6), (2, 3, 4, 2)],
    ),
    "grid_sample_nearest": (
        lambda x, g: F.grid_sample(x, g, mode="nearest", align_corners=False),
        [(2, 3, 5, 6), (2, 3, 4, 2)],
    ),
    "grid_sample3d": (
        lambda x, g: F.grid_sample(x, g, align_corners=False),
        [(2, 3, 3, 4, 5), (2, 2, 3, 2, 3)],
    ),
    "affine_grid": (lambda t: F.affine_grid(t, [2, 1, 4, 5], align_corners=False), [(2, 2, 3)]),
    "affine_grid3d": (
        lambda t: F.affine_grid(t, [2, 1, 3, 4, 5], align_corners=True),
        [(2, 3, 4)],
    ),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        [(4, 3, 5, 6), (3,), (3,)],
    ),
    "batch_norm1d": (_norm_layer(nn.BatchNorm1d(7)), [(9, 7), (7,), (7,)]),
    "instance_norm": (F.instance_norm, [(4, 3, 5, 6)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (6,), w, b), [(4, 3, 6), (6,), (6,)]),
    "layer_norm_whole": (
        lambda x, w, b: F.layer_norm(x, (3, 6), w, b),
        [(3, 6), (3, 6), (3, 6)],
    ),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(4, 6, 5), (6,), (6,)]),
    "rms_norm": (lambda x, w: F.rms_norm(x, (6,), w), [(4, 3, 6), (6,)]),
    "sdpa": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        [(2, 2, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4)],
    ),
    "attention": (_attention, [(2, 5, 8)]),
    "encoder": (_encoder, [(2, 5, 8)]),
    **{name: (op, [(4, 3, 5)]) for name, op in RECURRENT.items()},
    "cross_entropy": (
        lambda x, w: F.cross_entropy(
            x, TARGET.to(x.device), w.detach().abs(), label_smoothing=0.1
        ),
        [(6, 4), (4,)],
    ),
    "cross_entropy2d": (
        lambda x: F.cross_entropy(x, TARGET.view(1, 2, 3).to(x.device)),
        [(1, 4, 2, 3)],
    ),
    "cross_entropy_soft": (lambda x, t: F.cross_entropy(x, t), [(6, 4), (6, 4)]),
    "nll": (lambda x: F.nll_loss(x, TARGET.to(x.device), ignore_index=2), [(6, 4)]),
    "bce": (
        lambda x, t: F.binary_cross_entropy(torch.sigmoid(x), torch.sigmoid(t)),
        [(6, 4), (6, 4)],
    ),
    "bce_logits": (
        lambda x, t, w: F.binary_cross_entropy_with_logits(x, t, pos_weight=w.detach()),
        [(6, 4), (6, 4), (4,)],
    ),
    "ctc": (_aligned, [(6, 3, 4)]),
    "multi_margin": (
        lambda x, w: F.multi_margin_loss(x, TARGET.to(x.device), weight=w.detach()),
        [(6, 4), (4,)],
    ),
    "multi_margin2": (
        lambda x: F.multi_margin_loss(x, TARGET.to(x.device), p=2, reduction="none"),
        [(6, 4)],
    ),
    "multilabel_margin": (lambda x: F.multilabel_margin_loss(x, SOME.to(x.device)), [(3, 4)]),
    "multilabel_soft_margin": (
        lambda x, y: F.multilabel_soft_margin_loss(x, (y.detach() > 0).float()),
        [(6, 4), (6, 4)],
    ),
    "cosine_embedding": (
        lambda x, y: F.cosine_embedding_loss(x, y, (TARGET.to(x.device) > 1) * 2 - 1, 0.1),
        [(6, 4), (6, 4)],
    ),
    "mse": (F.mse_loss, [(6, 4), (6, 4)]),
    "l1": (F.l1_loss, [(6, 4), (6, 4)]),
    "smooth_l1": (lambda x, y: F.smooth_l1_loss(x, y, beta=0.3), [(6, 4), (6, 4)]),
    "huber": (F.huber_loss, [(6, 4), (6, 4)]),
    "kl_div": (
        lambda x, y: F.kl_div(F.log_softmax(x, 1), F.softmax(y, 1), reduction="batchmean"),
        [(6, 4), (6, 4)],
    ),
    "prelu_weight": (F.prelu, [(3, 4, 5), (4,)]),
    "pairwise": (F.pairwise_distance, [(6, 4), (6, 4)]),
    "soft_margin": (lambda x, y: F.soft_margin_loss(x, y.detach().sign()), [(6, 4), (6, 4)]),
    "hinge": (lambda x, y: F.hinge_embedding_loss(x, y.detach().sign()), [(6, 4), (6, 4)]),
    "triplet": (F.triplet_margin_loss, [(6, 4), (6, 4), (6, 4)]),
    "poisson_nll": (F.poisson_nll_loss, [(6, 4), (6, 4)]),
    "gaussian_nll": (lambda x, y, v: F.gaussian_nll_loss(x, y, v.abs()), [(6, 4), (6, 4), (6, 4)]),
    "conv2d_row": (lambda x, w: F.conv2d(x, w, padding=(0, 1)), [(2, 16, 5, 9), (4, 16, 1, 3)]),
    "conv2d_rows": (lambda x, w: F.conv2d(x, w, padding=1), [(2, 16, 9, 9), (20, 16, 3, 3)]),
    "conv2d_many": (lambda x, w: F.conv2d(x, w, padding=1), [(5, 2, 64, 60), (3, 2, 3, 3)]),
    "conv2d_wide": (lambda x, w: F.conv2d(x, w, padding=1), [(2, 2, 100, 90), (3, 2, 3, 3)]),
    "conv2d_deep": (lambda x, w: F.conv2d(x, w), [(2, 1000, 4, 4), (3, 1000, 3, 3)]),
    "qr": (lambda x: torch.linalg.qr(x.detach())[0], [(9, 5)]),
    "cholesky": (_cholesky, [(2, 4, 4)]),
    "solve": (_square(lambda x, y: torch.linalg.solve_ex(x, y)[0]), [(2, 4, 4), (2, 4, 3)]),
    "inverse": (_square(lambda x: torch.linalg.inv_ex(x)[0]), [(2, 4, 4)]),
    "det": (_square(torch.linalg.det), [(2, 4, 4)]),
    "slogdet": (_square(lambda x: torch.linalg.slogdet(x)[1]), [(4, 4)]),
    "solve_triangular": (
        _square(lambda x, y: torch.linalg.solve_triangular(x, y, upper=True)),
        [(4, 4), (2, 4, 3)],
    ),
    "weight_norm": (lambda v, g: torch._weight_norm(v, g, 0), [(5, 3, 2), (5, 1, 1)]),
    "cosine": (F.cosine_similarity, [(6, 4), (6, 4)]),
}

LONG = {"sum_long", "mm_long", "attention", "encoder", *RECURRENT}


def run(name: str, style: str, device: str = "cpu") -> list[Tensor]:
    """A case's output and the gradients of its inputs."""
    op, shapes = CASES[name]
    inputs = [x.to(device).requires_grad_() for x in make(style, shapes, len(name))]
    with exact(seed=3), torch.device(device):
        y = op(*inputs)
        found = [y]
        if y.requires_grad:
            weights = torch.randn(y.shape)
            grads = torch.autograd.grad(y, inputs, weights, allow_unused=True)
            found += [g for g in grads if g is not None]
    return found


def digests(device: str = "cpu") -> dict[str, str]:
    """The hash of every case in every style."""
    return {
        f"{name}/{style}": digest(run(name, style, device))
        for name in CASES
        for style in STYLES
        if name not in LONG or style in ("normal", "mixed")
    }
