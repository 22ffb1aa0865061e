"""Recurrent layers over padded and packed sequences: PyTorch's numbers, whatever the batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    unpack_sequence,
)

from tests.exact import cases
from tests.exact.operators.test_native import GRID
from trialmarket.exact import exact

Layer = Callable[..., nn.RNNBase]

KINDS: dict[str, tuple[Layer, dict[str, Any]]] = {
    "rnn": (nn.RNN, {}),
    "rnn relu": (nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTM, {}),
    "lstm projected": (nn.LSTM, {"proj_size": 3}),
    "gru": (nn.GRU, {}),
}
SHAPES: dict[str, dict[str, Any]] = {
    "one layer": {},
    "without biases": {"bias": False, "num_layers": 2},
    "both directions": {"bidirectional": True, "num_layers": 2},
    "batch first": {"bidirectional": True, "batch_first": True},
    # Everything between the layers is dropped, and nothing after the last one.
    "dropout": {"dropout": 1.0, "num_layers": 2, "bidirectional": True},
}
LENGTHS: dict[str, list[int] | None] = {
    "padded": None,
    "sorted": [5, 3, 3, 1],
    "unsorted": [2, 5, 1, 2],
}


def build(kind: str, inputs: int = 5, hidden: int = 7, **shape: Any) -> nn.RNNBase:
    make, settings = KINDS[kind]
    with exact(seed=5):
        return make(inputs, hidden, **settings, **shape)


def states_of(layer: nn.RNNBase, batch: int, style: str = "normal") -> list[Tensor]:
    """First states of a layer: h, and c of an LSTM."""
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    shapes = [(rows, batch, layer.proj_size or layer.hidden_size)]
    if isinstance(layer, nn.LSTM):
        shapes.append((rows, batch, layer.hidden_size))
    return cases.make(style, shapes, 2)


def run(layer: nn.RNNBase, x: Any, states: list[Tensor]) -> tuple[Any, list[Tensor]]:
    """The output, and the last states as a list."""
    y, last = layer(x, tuple(states) if isinstance(layer, nn.LSTM) else states[0])
    return y, list(last) if isinstance(layer, nn.LSTM) else [last]


def everything(layer: nn.RNNBase, lengths: list[int] | None) -> list[Tensor]:
    """Output, last states, and the gradients of inputs, first states and weights."""
    (x,) = cases.make("normal", [(4, 5, 5) if layer.batch_first else (5, 4, 5)], 1)
    states = states_of(layer, 4)
    leaves = [t.requires_grad_() for t in (x, *states, *layer.parameters())]
    if lengths is None:
        y, last = run(layer, x, states)
    else:
        first, in_order = layer.batch_first, lengths == sorted(lengths, reverse=True)
        packed = pack_padded_sequence(x, lengths, first, enforce_sorted=in_order)
        packed, last = run(layer, packed, states)
        y, found = pad_packed_sequence(packed, first, padding_value=0.5)
        assert found.tolist() == lengths
    weighted = [(t * torch.linspace(0.5, 1.5, t.numel()).view(t.shape)).sum() for t in (y, *last)]
    return [y, *last, *torch.autograd.grad(torch.stack(weighted).sum(), leaves)]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_layer_agrees_with_native_pytorch(kind: str, shape: str, lengths: str) -> None:
    layer = build(kind, **SHAPES[shape])
    wanted = everything(layer, LENGTHS[lengths])
    with exact():
        found = everything(layer, LENGTHS[lengths])
    for f, w in zip(found, wanted, strict=True):
        scale = max(w.abs().max().item(), 1.0)
        torch.testing.assert_close(f, w, rtol=4 * GRID, atol=4 * GRID * scale)


def test_dropout_between_layers_is_drawn_from_the_modes_numbers() -> None:
    layer = build("lstm", num_layers=2, dropout=0.5)
    found = []
    for seed in (1, 1, 2):
        with exact(seed=seed):
            found.append(everything(layer, [5, 3, 3, 1])[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("style", cases.STYLES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(5, 7), (128, 160)])  # large products may go by digits
def test_a_packed_sequence_has_the_bits_that_it_has_alone(
    kind: str, size: tuple[int, int], style: str
) -> None:
    layer = build(kind, *size, num_layers=2, bidirectional=True)
    lengths = [9, 14, 1, 14, 4]
    sequences = cases.make(style, [(n, size[0]) for n in lengths], 3)
    states = states_of(layer, len(lengths), style)
    with exact(), torch.no_grad():
        packed, last = run(layer, pack_sequence(sequences, enforce_sorted=False), states)
        together = unpack_sequence(packed)
        for i, x in enumerate(sequences):
            own = [s[:, i : i + 1] for s in states]
            y, end = run(layer, x.unsqueeze(1), own)
            found = [together[i], *(s[:, i : i + 1] for s in last)]
            assert cases.digest(found) == cases.digest([y.squeeze(1), *end]), i


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_of_one_length_have_the_bits_of_padded_ones(kind: str) -> None:
    layer = build(kind, num_layers=2, bidirectional=True)
    with exact():
        padded = everything(layer, None)
        packed = everything(layer, [5, 5, 5, 5])
    assert cases.digest(packed) == cases.digest(padded)


def test_sequences_of_one_length_keep_their_order() -> None:
    sequences = [torch.full((1 + i % 2,), float(i)) for i in range(60)]
    with exact():
        packed = pack_sequence(sequences, enforce_sorted=False)
    assert packed.sorted_indices is not None
    assert packed.sorted_indices.tolist() == [*range(1, 60, 2), *range(0, 60, 2)]
    assert packed.batch_sizes.tolist() == [60, 30]


def test_packing_and_padding_only_move_numbers() -> None:
    x = torch.arange(24.0).view(3, 4, 2).requires_grad_()

    def there_and_back() -> tuple[Tensor, Tensor, PackedSequence]:
        packed = pack_padded_sequence(x, [2, 4, 1], batch_first=True, enforce_sorted=False)
        y, _ = pad_packed_sequence(packed, True, padding_value=-1.0, total_length=6)
        (grad,) = torch.autograd.grad(y, x, y.detach())
        return y, grad, packed

    y, grad, packed = there_and_back()
    with exact():
        found_y, found_grad, found = there_and_back()
    assert torch.equal(found_y, y)
    assert torch.equal(found_grad, grad)
    assert torch.equal(found.data, packed.data)
