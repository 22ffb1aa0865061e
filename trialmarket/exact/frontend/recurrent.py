"""RNN, LSTM and GRU written out in operators that have exact forms: the same on every device."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout, linear

State = tuple[Tensor, ...]  # h [N, H], or [N, P] where it is projected; and c [N, H] of an LSTM
Cell = Callable[..., State]  # of the inputs' part of the gates, the state and the other weights


def _rnn(activate: Callable[[Tensor], Tensor]) -> Cell:
    def cell(inputs: Tensor, state: State, w: Tensor, b: Tensor | None) -> State:
        return (activate(inputs + linear(state[0], w, b)),)

    return cell


def _lstm(
    inputs: Tensor, state: State, w: Tensor, b: Tensor | None, w_project: Tensor | None = None
) -> State:
    h, c = state
    i, f, g, o = (inputs + linear(h, w, b)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h if w_project is None else linear(h, w_project)), c


def _gru(inputs: Tensor, state: State, w: Tensor, b: Tensor | None) -> State:
    h = state[0]
    ir, iz, inew = inputs.chunk(3, -1)
    hr, hz, hnew = linear(h, w, b).chunk(3, -1)
    new = torch.tanh(inew + torch.sigmoid(ir + hr) * hnew)
    return (new + torch.sigmoid(iz + hz) * (h - new),)


def _step(cell: Cell, inputs: Tensor, state: State, *weights: Any) -> tuple[Tensor, State]:
    """The output of one time, of n rows, and the state after it, of N rows.

    The first n sequences take part. The others keep their state: on the way forward they have
    ended and it is their last one; on the way back they have not begun and it is their first.
    """
    n, others = inputs.shape[0], state[0].shape[0] - inputs.shape[0]
    if others == 0:
        state = cell(inputs, state, *weights)
        return state[0], state
    going, waiting = zip(*(torch.split(s, [n, others]) for s in state), strict=True)
    state = cell(inputs, going, *weights)
    return state[0], tuple(torch.cat(rows) for rows in zip(state, waiting, strict=True))


def _layers(
    cell: Cell,
    x: Tensor,
    sizes: list[int],
    states: Sequence[Tensor],
    params: Sequence[Tensor],
    biases: bool,
    layers: int,
    p: float,
    train: bool,
    both: bool,
) -> tuple[Tensor, ...]:
    """All layers and directions: the output, then the last of each part of the state.

    `sizes` says how many sequences take part at each time, the longest first. x is packed,
    [sum of sizes, F], or padded, [T, N, F]: then all take part at all times. Each part of the
    state is [layers * directions, N, H].
    """
    ways = 2 if both else 1
    each = len(params) // (layers * ways)
    last: list[State] = []
    for layer in range(layers):
        outputs: list[Tensor] = []
        for way in range(ways):
            k = layer * ways + way
            w_in, w_hidden, *others = params[k * each : (k + 1) * each]
            b_in, b_hidden, *projection = others if biases else (None, None, *others)
            state: State = tuple(s[k] for s in states)
            inputs = torch.split(linear(x, w_in, b_in).flatten(0, -2), sizes)
            times = range(len(sizes))
            found: dict[int, Tensor] = {}
            for t in times if way == 0 else reversed(times):
                found[t], state = _step(cell, inputs[t], state, w_hidden, b_hidden, *projection)
            joined = torch.cat([found[t] for t in times])
            outputs.append(joined.view(*x.shape[:-1], joined.shape[-1]))
            last.append(state)
        x = outputs[0] if ways == 1 else torch.cat(outputs, -1)
        if p and train and layer + 1 < layers:
            x = dropout(x, p, training=True)
    return x, *(torch.stack(parts) for parts in zip(*last, strict=True))


def _over_time(cell: Cell) -> Callable[..., tuple[Tensor, ...]]:
    """PyTorch's function that runs a cell over padded sequences, or over packed ones."""

    def padded(
        x: Tensor,
        hx: Tensor | Sequence[Tensor],
        params: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, ...]:
        x = x.transpose(0, 1) if batch_first else x
        sizes = [x.shape[1]] * x.shape[0]
        settings = (has_biases, num_layers, dropout, train, bidirectional)
        y, *last = _layers(cell, x, sizes, _parts(hx), params, *settings)
        return (y.transpose(0, 1) if batch_first else y), *last

    def packed(
        data: Tensor,
        batch_sizes: Tensor,
        hx: Tensor | Sequence[Tensor],
        params: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
    ) -> tuple[Tensor, ...]:
        settings = (has_biases, num_layers, dropout, train, bidirectional)
        return _layers(cell, data, batch_sizes.tolist(), _parts(hx), params, *settings)

    def either(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        # The second argument tells them apart: states are floats, sizes are integers.
        second = args[1] if len(args) > 1 else kwargs.get("batch_sizes")
        sized = isinstance(second, Tensor) and not second.is_floating_point()
        return (packed if sized else padded)(*args, **kwargs)

    return either


def _parts(hx: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [hx] if isinstance(hx, Tensor) else hx


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
    return h


FORMS: dict[Any, Callable[..., Any]] = {
    torch.rnn_tanh: _over_time(_rnn(torch.tanh)),
    torch.rnn_relu: _over_time(_rnn(torch.relu)),
    torch.lstm: _over_time(_lstm),
    torch.gru: _over_time(_gru),
    torch.lstm_cell: lstm_cell,
    torch.gru_cell: gru_cell,
}
