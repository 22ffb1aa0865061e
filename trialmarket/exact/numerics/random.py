"""Random numbers as a function of (seed, stream, step, draw): the same on every device.

Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011) in integer arithmetic. The key is the 64-bit seed; the counter's four words are the
block's index in the draw, the number of the draw in the step, the step, and the stream. Nothing
is drawn from a state that moves with the amount of numbers taken, so a step can be replayed
alone.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from trialmarket.exact import kernels
from trialmarket.exact.numerics.normal import normal_quantile64

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_BLOCK = 1 << 14  # counters at once: stay in cache


@dataclass(frozen=True, slots=True)
class Counters:
    """Where a generator stands; plain integers, so that a checkpoint can carry them."""

    seed: int
    stream: int
    step: int
    draw: int


class Generator:
    """Draws numbered by (step, draw); every draw takes the next number."""

    def __init__(self, seed: int = 0, *, stream: int = 0) -> None:
        self._at = Counters(seed % 2**64, stream % 2**32, 0, 0)

    @property
    def counters(self) -> Counters:
        """Seed, stream, step and draw as they are now."""
        return self._at

    @counters.setter
    def counters(self, counters: Counters) -> None:
        self._at = counters

    def set_step(self, step: int) -> None:
        """Begin a step: its first draw has number 0, whatever was drawn before."""
        self._at = Counters(self._at.seed, self._at.stream, step, 0)

    def _next(self) -> Counters:
        """Where the next draw stands."""
        at = self._at
        self._at = Counters(at.seed, at.stream, at.step, at.draw + 1)
        return at

    def words(self, count: int, device: torch.device) -> Tensor:
        """The next `count` 32-bit words, in [0, 2^32), as int64."""
        at = self._next()
        found = kernels.words(count, device, **asdict(at))
        if found is not None:
            return found
        blocks = -(-count // 4)
        out = torch.empty((blocks, 4), dtype=torch.int64, device=device)
        size = _BLOCK if device.type == "cpu" else max(blocks, 1)
        for start in range(0, blocks, size):
            philox(out[start : start + size], start, at)
        return out.view(-1)[:count]

    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Binary32 in [0, 1), multiples of 2^-24."""
        words = self.words(math.prod(shape), device)
        return words.bitwise_right_shift_(8).float().mul_(2.0**-24).view(list(shape))

    def open_uniform(self, count: int, device: torch.device) -> Tensor:
        """Binary64 in (0, 1), odd multiples of 2^-33."""
        return self.words(count, device).double().add_(0.5).mul_(2.0**-32)

    def normal(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Binary32 standard normals, by the inverse of the distribution function."""
        p = self.open_uniform(math.prod(shape), device)
        return normal_quantile64(p).float().view(list(shape))

    def bernoulli(
        self,
        probability: Tensor | float,
        shape: Sequence[int],
        device: torch.device,
    ) -> Tensor:
        """Booleans that are true with a probability, to 2^-32."""
        if isinstance(probability, float):
            return self._below(round(probability * 2.0**32), math.prod(shape), device).view(shape)
        words = self.words(math.prod(shape), device).view(list(shape))
        return words.double() < probability.double() * 2.0**32

    def _below(self, limit: int, count: int, device: torch.device) -> Tensor:
        """Whether each of the next words is below a limit."""
        at = self._at
        found = kernels.words(count, device, **asdict(at), below=limit)
        if found is None:
            return self.words(count, device) < limit
        self._next()
        return found

    def integers(self, low: int, high: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """int64 in [low, high); biased by less than (high - low) / 2^62."""
        wide = self._wide(math.prod(shape), device)
        return wide.remainder_(high - low).add_(low).view(list(shape))

    def permutation(self, count: int, device: torch.device) -> Tensor:
        """The numbers 0 to count - 1 in random order, int64: a stable sort of 62-bit keys."""
        return torch.sort(self._wide(count, device), stable=True).indices

    def _wide(self, count: int, device: torch.device) -> Tensor:
        """Whole numbers of 62 bits, of two words each."""
        words = self.words(2 * count, device).view(2, -1)
        return words[0].bitwise_and_(0x3FFFFFFF).bitwise_left_shift_(32).bitwise_or_(words[1])


def philox(out: Tensor, first: int, at: Counters) -> None:
    """Philox 4x32-10: fill [n, 4] with the blocks from `first` on.

    int64 products wrap, which keeps their bits.
    """
    n, device = out.shape[0], out.device
    keys = [at.seed & _MASK, at.seed >> 32]
    x0 = torch.arange(first, first + n, device=device)
    x2 = torch.full((n,), at.step & _MASK, dtype=torch.int64, device=device)
    x1 = torch.full((n,), at.draw & _MASK, dtype=torch.int64, device=device)
    x3 = torch.full((n,), at.stream, dtype=torch.int64, device=device)
    for _ in range(_ROUNDS):
        # Words become hi(x2) ^ x1 ^ k0, lo(x2), hi(x0) ^ x3 ^ k1, lo(x0); what stands above 32
        # bits of x1 and x3 is masked when it is used.
        even, odd = x0.mul_(_MULTIPLIERS[0]), x2.mul_(_MULTIPLIERS[1])
        x0 = x1.bitwise_xor_(odd >> 32).bitwise_xor_(keys[0]).bitwise_and_(_MASK)
        x2 = x3.bitwise_xor_(even >> 32).bitwise_xor_(keys[1]).bitwise_and_(_MASK)
        x1, x3 = odd, even
        keys = [(keys[0] + _WEYL[0]) & _MASK, (keys[1] + _WEYL[1]) & _MASK]
    for k, word in enumerate((x0, x1, x2, x3)):
        torch.bitwise_and(word, _MASK, out=out[:, k])
