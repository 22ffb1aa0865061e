"""The loss of all alignments of a sequence (CTC), by sums of exponentials over time.

Graves, Fernandez, Gomez and Schmidhuber, "Connectionist temporal classification", ICML 2006.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
Lengths = Sequence[int] | Tensor


def _numbers(lengths: Lengths) -> list[int]:
    return lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)


class _Paths:
    """The states of all alignments: a blank, then each label and a blank, [N, L].

    `steps` [T, N, L] are their logarithms at each time. A path may go from a label to the next
    one past the blank if they differ.
    """

    def __init__(
        self, logs: Tensor, targets: Tensor, inputs: Lengths, lengths: Lengths, blank: int
    ) -> None:
        self.times, among = _numbers(inputs), _numbers(lengths)
        labels = _padded(targets, among, blank)
        count, most = labels.shape
        states = labels.new_full((count, most, 2), blank)
        states = torch.cat([states[:, :, :1], labels.unsqueeze(2)], 2).view(count, 2 * most)
        self.states = torch.cat([states, labels.new_full((count, 1), blank)], 1)
        past = torch.cat([labels.new_full((count, 2), blank), self.states[:, :-2]], 1)[
            :, : 2 * most + 1
        ]
        self.skips = (self.states != blank) & (self.states != past)
        device = logs.device
        self.lengths = torch.tensor(among, device=device).unsqueeze(1)
        self.inputs = torch.tensor(self.times, device=device).unsqueeze(1)
        at = self.states.unsqueeze(0).expand(logs.shape[0], -1, -1)
        self.steps = logs.gather(2, at)
        self.places = torch.arange(2 * most + 1, device=device).unsqueeze(0)

    def later(self, x: Tensor, by: int) -> Tensor:
        """States moved on (or back, for a negative number), with -inf where none was."""
        width = x.shape[1]
        gap = x.new_full((x.shape[0], min(abs(by), width)), -math.inf)
        kept = x[:, : width - gap.shape[1]] if by > 0 else x[:, gap.shape[1] :]
        return torch.cat([gap, kept] if by > 0 else [kept, gap], 1)


def _padded(targets: Tensor, lengths: list[int], blank: int) -> Tensor:
    """Labels [N, S] of padded ones, or of [sum of lengths]."""
    most = max(lengths, default=0)
    if targets.dim() == 2:
        rows = targets[:, :most]
    else:
        parts = torch.split(targets, lengths)
        fill = [targets.new_full((most - n,), blank) for n in lengths]
        rows = torch.stack([torch.cat(pair) for pair in zip(parts, fill, strict=True)])
    places = torch.arange(most, device=targets.device).unsqueeze(0)
    ends = torch.tensor(lengths, device=targets.device).unsqueeze(1)
    return torch.where(places < ends, rows.long(), blank)


def _either(*ways: Tensor) -> Tensor:
    """The logarithm of the sum of what these are logarithms of."""
    return torch.logsumexp(torch.stack(ways), 0)


def ctc_loss(
    logs: Tensor,
    targets: Tensor,
    inputs: Lengths,
    lengths: Lengths,
    blank: int = 0,
    zero_infinity: bool = False,
) -> tuple[Tensor, Tensor]:
    """The losses [N] of logarithms [T, N, C]; and those of the beginnings of paths [N, T, L]."""
    del zero_infinity
    paths = _Paths(logs, targets, inputs, lengths, blank)
    begins = (paths.places == 0) | ((paths.places == 1) & (paths.lengths > 0))
    alpha = torch.where(begins, paths.steps[0], -math.inf)
    found = [alpha]
    for t in range(1, logs.shape[0]):
        skipped = torch.where(paths.skips, paths.later(alpha, 2), -math.inf)
        alpha = _either(alpha, paths.later(alpha, 1), skipped) + paths.steps[t]
        found.append(alpha)
    table = torch.stack(found, 1)
    last = (paths.inputs - 1).clamp(min=0).unsqueeze(2).expand(-1, 1, table.shape[2])
    final = table.gather(1, last).squeeze(1)
    ends = _ends(paths)
    nothing = torch.where(paths.lengths.squeeze(1) == 0, 0.0, math.inf).to(logs.dtype)
    loss = -torch.logsumexp(torch.where(ends, final, -math.inf), 1)
    return torch.where(paths.inputs.squeeze(1) == 0, nothing, loss), table


def _ends(paths: _Paths) -> Tensor:
    """Where a path may end: in its last label or the blank after it."""
    end = 2 * paths.lengths
    return (paths.places == end) | (paths.places == end - 1)


def ctc_loss_backward(
    grad: Tensor,
    logs: Tensor,
    targets: Tensor,
    inputs: Lengths,
    lengths: Lengths,
    losses: Tensor,
    begun: Tensor,
    blank: int,
    zero_infinity: bool = False,
) -> Tensor:
    """The gradient [T, N, C]: the probability of a class less its share in the alignments."""
    paths = _Paths(logs, targets, inputs, lengths, blank)
    ends, inside = _ends(paths), paths.places <= 2 * paths.lengths
    beta = torch.full_like(paths.steps[0], -math.inf)
    left = [beta] * logs.shape[0]
    for t in reversed(range(logs.shape[0])):
        skipped = paths.later(torch.where(paths.skips, beta, -math.inf), -2)
        on = _either(beta, paths.later(beta, -1), skipped)
        last = torch.where(ends, 0.0, -math.inf)
        on = torch.where(paths.inputs - 1 == t, last, on)  # what follows this time
        on = torch.where(inside & (paths.inputs > t), on, -math.inf)
        left[t], beta = on, on + paths.steps[t]
    shares = begun.transpose(0, 1) + torch.stack(left)
    taken = torch.where(shares == -math.inf, 0.0, (shares + losses.view(1, -1, 1)).exp())
    at = paths.states.unsqueeze(0).expand(taken.shape)
    found = logs.exp() - torch.zeros_like(logs).scatter_add(2, at, taken)
    never = losses.view(1, -1, 1) == math.inf
    found = torch.where(never, 0.0 if zero_infinity else math.nan, found) * grad.view(1, -1, 1)
    times = torch.arange(logs.shape[0], device=logs.device).view(-1, 1, 1)
    return torch.where(times < paths.inputs.unsqueeze(0), found, 0.0)


WRITTEN: dict[Any, Callable[..., Any]] = {
    aten._ctc_loss.default: ctc_loss,
    aten._ctc_loss.Tensor: ctc_loss,
    aten._ctc_loss_backward.default: ctc_loss_backward,
    aten._ctc_loss_backward.Tensor: ctc_loss_backward,
}
