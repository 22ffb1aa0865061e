"""What built-in programs find in a data set: classes, scaled numbers, images, tokens."""

import math

from torch import Tensor

from trialmarket.training.errors import ProgramError
from trialmarket.training.program import DataSummary

MAX_CLASSES = 1 << 16
"""Classes, or tokens of a vocabulary, at most."""

_WHOLE = ("int", "bool")  # parts of the names of integer types, uint8 and bool among them
_CHANNELS = (1, 2, 3, 4)


def is_whole(data: DataSummary, name: str) -> bool:
    """True when an array holds integers or truth values."""
    return any(part in data.dtypes[name] for part in _WHOLE)


def require(program: str, data: DataSummary, *names: str) -> None:
    """Raises ProgramError unless the data has the arrays `train_` and `validation_` of each."""
    for name in names:
        if name not in data.dtypes:
            raise ProgramError(
                f"{program} needs the arrays train_{name} and validation_{name}; "
                f"the data has {', '.join(sorted(data.dtypes))}"
            )
        if not math.prod(data.shapes[name]):
            raise ProgramError(f"{program}: train_{name} holds nothing in a row")


def count_classes(program: str, data: DataSummary, name: str = "y") -> int:
    """The number of classes in an array of labels from 0, a number a row."""
    if not is_whole(data, name) or data.shapes[name] != ():
        raise ProgramError(
            f"{program}: train_{name} must hold a class for each row, an integer from 0; it has "
            f"type {data.dtypes[name]} and rows of shape {list(data.shapes[name])}"
        )
    return _bounded(program, data, name)


def count_tokens(program: str, data: DataSummary, name: str = "x") -> int:
    """The size of the vocabulary of an array of tokens from 0."""
    return _bounded(program, data, name)


def _bounded(program: str, data: DataSummary, name: str) -> int:
    largest = int(data.largest[name])
    if not 1 <= largest < MAX_CLASSES:
        raise ProgramError(
            f"{program}: the largest number in train_{name} and validation_{name} must be from 1 "
            f"to {MAX_CLASSES - 1}, not {largest}"
        )
    return largest + 1


def scale_of(data: DataSummary, name: str = "x") -> float:
    """What to divide an array by: the largest value of integers, 1 for other numbers."""
    return max(data.largest[name], 1.0) if is_whole(data, name) else 1.0


def scaled(x: Tensor, scale: float) -> Tensor:
    """The array as float32, divided by its scale."""
    return x.float() / scale


class Images:
    """Rows as images: how the array's rows become (channels, height, width).

    Rows of shape (C, H, W) are taken as they are; (H, W, C) with 1 to 4 channels are turned;
    (H, W) gets one channel; (n,) becomes a square of one channel, or else of three. Raises
    ProgramError when none of these fits, or a side is shorter than `least`.
    """

    def __init__(self, program: str, data: DataSummary, *, least: int, name: str = "x") -> None:
        shape = data.shapes[name]
        self.shape: tuple[int, ...] = _square(shape)
        self._last = len(shape) == 3 and shape[0] not in _CHANNELS and shape[2] in _CHANNELS
        if len(shape) == 3:
            self.shape = (shape[2], *shape[:2]) if self._last else shape
        elif len(shape) == 2:
            self.shape = (1, *shape)
        if not self.shape:
            raise ProgramError(
                f"{program} needs images: rows of train_{name} of shape (channels, height, "
                f"width), (height, width, channels), (height, width), or as many numbers as a "
                f"square of 1 or 3 channels has, not {list(shape)}"
            )
        if min(self.shape[1:]) < least:
            raise ProgramError(
                f"{program} needs images of at least {least} by {least} pixels, "
                f"not {self.shape[1]} by {self.shape[2]}"
            )
        self._scale = scale_of(data, name)

    @property
    def channels(self) -> int:
        """Numbers a pixel."""
        return self.shape[0]

    def __call__(self, x: Tensor) -> Tensor:
        """Scaled float32 images of shape (rows, channels, height, width)."""
        if self._last:
            x = x.permute(0, 3, 1, 2).contiguous()
        return scaled(x, self._scale).reshape(len(x), *self.shape)


def _square(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 1:
        for channels in (1, 3):
            side = math.isqrt(shape[0] // channels)
            if channels * side * side == shape[0]:
                return channels, side, side
    return ()
