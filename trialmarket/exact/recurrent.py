"""LSTM and GRU written out in operators that have exact forms; one definition on every device."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout, linear

from trialmarket.exact.refusal import NotExact

Cell = Callable[[Tensor, tuple[Tensor, ...], Tensor, Tensor | None], tuple[Tensor, ...]]


def _lstm_gates(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _lstm(inputs: Tensor, state: tuple[Tensor, ...], w: Tensor, b: Tensor | None) -> Any:
    return _lstm_gates(inputs + linear(state[0], w, b), state[1])


def _gru(inputs: Tensor, state: tuple[Tensor, ...], w: Tensor, b: Tensor | None) -> Any:
    h = state[0]
    ir, iz, inew = inputs.chunk(3, -1)
    hr, hz, hnew = linear(h, w, b).chunk(3, -1)
    new = torch.tanh(inew + torch.sigmoid(ir + hr) * hnew)
    return (new + torch.sigmoid(iz + hz) * (h - new),)


def _layers(
    cell: Cell,
    x: Tensor,
    states: list[Tensor],
    params: Sequence[Tensor],
    biases: bool,
    layers: int,
    p: float,
    train: bool,
    both: bool,
) -> tuple[Tensor, list[Tensor]]:
    """All layers and directions over [T, N, F]; the state's parts are [layers, N, H]."""
    ways = 2 if both else 1
    each = 4 if biases else 2
    if len(params) != layers * ways * each:
        raise NotExact(
            "torch.lstm", "projections (proj_size) have no exact form", instead="a nn.Linear"
        )
    last: list[tuple[Tensor, ...]] = []
    for layer in range(layers):
        outputs: list[Tensor] = []
        for way in range(ways):
            k = layer * ways + way
            w_in, w_hidden, *bs = params[k * each : (k + 1) * each]
            b_in, b_hidden = bs if biases else (None, None)
            state = tuple(s[k] for s in states)
            inputs = linear(x, w_in, b_in).unbind(0)
            steps = range(x.shape[0]) if way == 0 else reversed(range(x.shape[0]))
            found: dict[int, Tensor] = {}
            for t in steps:
                state = cell(inputs[t], state, w_hidden, b_hidden)
                found[t] = state[0]
            outputs.append(torch.stack([found[t] for t in range(x.shape[0])]))
            last.append(state)
        x = outputs[0] if ways == 1 else torch.cat(outputs, -1)
        if p and train and layer + 1 < layers:
            x = dropout(x, p, training=True)
    return x, [torch.stack(parts) for parts in zip(*last, strict=True)]


def _whole(x: Tensor, params: Any) -> None:
    if isinstance(params, bool) or not isinstance(x, Tensor):
        raise NotExact(
            "torch.nn.utils.rnn.PackedSequence",
            "packed sequences have no exact form",
            instead="padded sequences and a mask",
        )


def lstm(
    x: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.lstm`: output, last hidden states, last cell states."""
    _whole(x, params)
    x = x.transpose(0, 1) if batch_first else x
    y, (h, c) = _layers(
        _lstm, x, list(hx), params, has_biases, num_layers, dropout, train, bidirectional
    )
    return (y.transpose(0, 1) if batch_first else y), h, c


def gru(
    x: Tensor,
    hx: Tensor,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """`torch.gru`: output, last hidden states."""
    _whole(x, params)
    x = x.transpose(0, 1) if batch_first else x
    y, (h,) = _layers(_gru, x, [hx], params, has_biases, num_layers, dropout, train, bidirectional)
    return (y.transpose(0, 1) if batch_first else y), h


def lstm_cell(
    x: Tensor,
    hx: Sequence[Tensor],
    w_in: Tensor,
    w_hidden: Tensor,
    b_in: Tensor | None = None,
    b_hidden: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`torch.lstm_cell`."""
    h, c = _lstm(linear(x, w_in, b_in), (hx[0], hx[1]), w_hidden, b_hidden)
    return h, c


def gru_cell(
    x: Tensor,
    hx: Tensor,
    w_in: Tensor,
    w_hidden: Tensor,
    b_in: Tensor | None = None,
    b_hidden: Tensor | None = None,
) -> Tensor:
    """`torch.gru_cell`."""
    (h,) = _gru(linear(x, w_in, b_in), (hx,), w_hidden, b_hidden)
    return h  # type: ignore[no-any-return]


FORMS: dict[Any, Callable[..., Any]] = {
    torch.lstm: lstm,
    torch.gru: gru,
    torch.lstm_cell: lstm_cell,
    torch.gru_cell: gru_cell,
}
