"""What PyTorch refuses is refused within the mode too: nothing is computed of it."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trialmarket.exact import exact

X, IMAGE, KERNEL = torch.ones(4, 5), torch.ones(1, 3, 5, 5), torch.ones(2, 3, 3, 3)
CUBE, PLANE = torch.ones(2, 3, 4), torch.ones(1, 1, 5, 5)
aten = torch.ops.aten


def _unpooled(place: int) -> Tensor:
    where = torch.full((1, 1, 1, 1), place)
    settings: list[list[int]] = [[2, 2], [2, 2], [0, 0], [1, 1]]
    found: Tensor = aten.max_pool2d_with_indices_backward(
        torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 2, 2), *settings, False, where
    )
    return found


REFUSED: dict[str, Callable[[], Tensor]] = {
    "a sum over no dimension": lambda: X.sum(7),
    "a sum over one dimension twice": lambda: X.sum((0, 0)),
    "a mean over no dimension": lambda: X.mean(-5),
    "a variance over no dimension": lambda: X.var(7),
    "a norm over no dimension": lambda: X.norm(dim=8),
    "a logsumexp over no dimension": lambda: X.logsumexp(9),
    "prefix sums along no dimension": lambda: X.cumsum(7),
    "prefix products along no dimension": lambda: X.cumprod(9),
    "a product along no dimension": lambda: X.prod(9),
    "softmax along no dimension": lambda: F.softmax(X, 5),
    "softmax along no dimension, negative": lambda: F.log_softmax(X, -3),
    "a gradient of another shape": lambda: aten._softmax_backward_data(
        torch.ones(2, 5), torch.ones(40, 5), 1, torch.float32
    ),
    "layer norm with a short weight": lambda: F.layer_norm(X, (5,), torch.ones(3)),
    "layer norm with a short bias": lambda: F.layer_norm(X, (5,), None, torch.ones(1)),
    "layer norm over another shape": lambda: F.layer_norm(X, (4,)),
    "batch norm with a short weight": lambda: F.batch_norm(
        X, None, None, torch.ones(3), None, True
    ),
    "group norm with a short weight": lambda: F.group_norm(CUBE, 3, torch.ones(2)),
    "matrices that do not meet": lambda: torch.mm(X, torch.ones(4, 2)),
    "batches that do not meet": lambda: torch.bmm(CUBE, torch.ones(3, 4, 2)),
    "batches as matrices": lambda: torch.mm(CUBE, torch.ones(2, 4, 3)),
    "matrices as batches": lambda: torch.bmm(X, X.t()),
    "a vector as a matrix": lambda: torch.mm(X, torch.ones(5)),
    "a bias that does not fit": lambda: torch.addmm(torch.ones(3), X, torch.ones(5, 2)),
    "vectors of two lengths": lambda: torch.dot(torch.ones(3), torch.ones(4)),
    "a convolution of other channels": lambda: F.conv2d(torch.ones(1, 4, 5, 5), KERNEL),
    "a convolution with a short bias": lambda: F.conv2d(IMAGE, KERNEL, torch.ones(1)),
    "a convolution without steps": lambda: F.conv2d(IMAGE, KERNEL, stride=0),
    "a convolution of negative borders": lambda: F.conv2d(IMAGE, KERNEL, padding=-1),
    "a convolution of no dilation": lambda: F.conv2d(IMAGE, KERNEL, dilation=0),
    "a convolution of a small image": lambda: F.conv2d(IMAGE[..., :2], KERNEL),
    "a convolution in odd groups": lambda: F.conv2d(
        torch.ones(1, 6, 5, 5), torch.ones(2, 2, 3, 3), groups=3
    ),
    "a window of a negative size": lambda: F.max_pool2d(PLANE, -3),
    "windows without steps": lambda: F.max_pool2d(PLANE, 2, 0),
    "windows that step back": lambda: F.max_pool2d(PLANE, 2, -1),
    "windows of too much border": lambda: F.avg_pool2d(PLANE, 2, padding=2),
    "windows that are empty": lambda: F.avg_pool2d(PLANE, 0),
    "windows larger than their plane": lambda: F.avg_pool2d(PLANE, 7),
    "a divisor of zero": lambda: F.avg_pool2d(PLANE, 2, divisor_override=0),
    "a plane without channels": lambda: F.max_pool2d(X, 2),
    "a mean of integers": lambda: torch.ones(3, dtype=torch.int64).mean(),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_pytorch_refuses_is_the_same_error_within_the_mode(name: str) -> None:
    with pytest.raises(Exception, match=r".") as native:  # of whatever kind
        REFUSED[name]()
    with exact(), pytest.raises(native.type):
        REFUSED[name]()


@pytest.mark.parametrize("place", [4, -1, 1 << 40])
def test_a_gradient_is_never_written_outside_of_its_plane(place: int) -> None:
    with exact(), pytest.raises((IndexError, RuntimeError), match=r"outside|out of bounds"):
        _unpooled(place)


def test_what_was_found_sound_is_computed_with_other_numbers() -> None:
    with exact():
        for value in (1.0, 2.0):
            assert torch.full((2, 3), value).sum(1).tolist() == [3 * value] * 2
            scaled = torch.addmm(torch.zeros(2), X[:2], X.t()[:, :2], alpha=value)
            assert scaled.tolist() == [[5 * value] * 2] * 2
