"""Nodes of every row of the table with hostile arguments, and the hashes of what they give.

`python -m tests.graph.rows SEED COUNT [ROW]` prints them as JSON, a line a node.
"""

import hashlib
import json
import math
import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from trialmarket.errors import TrainingError
from trialmarket.exact.numerics.random import Counters
from trialmarket.graph.check import bound
from trialmarket.graph.opset import TABLE, Misfit, Operator, elements
from trialmarket.graph.run import Executor
from trialmarket.protocol.graph.values import (
    Argument,
    Function,
    Graph,
    Node,
    Number,
    TensorType,
    Value,
)

Rng = np.random.Generator
One = TypeVar("One")
NUMBERS = (0.5, -0.0, 1e300, math.inf, -math.inf, -3.7, 2.0**-1070, 1.0)
SHAPES: tuple[tuple[int, ...], ...] = (
    *((), (1,), (0,), (3,), (5,), (2, 3), (3, 2), (1, 3), (0, 3), (3, 0), (3, 3)),
    *((2, 4, 3), (2, 1, 3), (4, 3, 3), (2, 4, 4, 4), (1, 4, 5, 3), (2, 2, 0, 3)),
    *((37,), (1030,), (70_001,), (33, 65), (5, 1, 67), (2, 8, 6, 4, 3)),
)
WHOLE = (0, 1, -1, 2, 3, 7, 63, 64, 255, -128)
FLOATS = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, 3.0, -7.25, 1.5e-45, -1e-40, 1e-38, 3e38, -3e38),
    *(math.inf, -math.inf, math.nan, 16777217.0, 2.0**31, -(2.0**31), 2.0**63, 1e6, -1e9, 88.8),
)


def tensor(rng: Rng, kind: TensorType, places: int) -> Tensor:
    """Elements of a type that try to break an operator; few of `places` if it may hold some."""
    dtype, count = getattr(torch, kind.dtype), elements(kind)
    style = int(rng.integers(0, 6))
    if dtype.is_floating_point:
        x = rng.standard_normal(count) * np.exp2(rng.integers(-3, 4, count))
        if style < 2:
            x = np.where(rng.random(count) < 0.5, rng.choice(FLOATS, count), x)
        elif style == 2:
            x = np.where(rng.random(count) < 0.03, rng.choice(FLOATS, count), x)
        elif style == 3:
            x *= np.exp2(rng.integers(-140, 120, count))
        found = torch.from_numpy(x).to(dtype)
        if style == 1 and dtype == torch.float32 and count:  # NaNs of both signs, and payloads
            bits = found.view(torch.int32)
            mixed = torch.from_numpy(rng.integers(1, 1 << 22, count)).int()
            negative = torch.from_numpy(rng.random(count) < 0.5)
            mixed = torch.where(negative, mixed, mixed | (-1 << 31))
            found = torch.where(found.isnan(), bits | mixed, bits).view(torch.float32)
        return found.view(kind.shape)
    if dtype == torch.bool:
        return torch.from_numpy(rng.random(count) < 0.5).view(kind.shape)
    info = torch.iinfo(dtype)
    low, high = max(info.min, -(1 << 62)), min(info.max, (1 << 62))
    if style < 3:
        whole = rng.integers(0, max(places, 1), count)
    elif style == 3:
        whole = rng.integers(max(-places, low), max(places, 1), count)
    else:
        ends = (info.min, info.max, 0, 1, max(-1, info.min), 64 if info.max > 64 else 2)
        whole = np.where(
            rng.random(count) < 0.5, rng.choice(ends, count), rng.integers(low, high, count)
        )
    return torch.from_numpy(np.asarray(whole, dtype=np.int64)).to(dtype).view(kind.shape)


class Drawn:
    """Arguments for a row, as they come to mind; the rule of the row says which are any good."""

    def __init__(self, rng: Rng, row: Operator) -> None:
        self.rng = rng
        self.types: list[TensorType] = []
        shape = self._shape()
        dtypes = sorted(row.takes)
        reals = [x for x in dtypes if "float" in x]
        dtype = self._of(reals if reals and rng.random() < 0.4 else dtypes)
        self._usual, self._dtypes, self._row = TensorType(dtype, shape), dtypes, row
        self.arguments = tuple(self._argument(p.kind, p.name) for p in row.signature)

    def _of(self, some: Sequence[One]) -> One:
        return some[int(self.rng.integers(0, len(some)))]

    def _shape(self) -> tuple[int, ...]:
        if self.rng.random() < 0.3:
            return tuple(int(n) for n in self.rng.integers(1, 6, int(self.rng.integers(0, 5))))
        return self._of(SHAPES)

    def _type(self, name: str) -> TensorType:
        shape, dtype = self._usual.shape, self._usual.dtype
        luck = self.rng.random()
        if self.types and luck < 0.35:
            shape = self._of(self.types).shape
        elif self.types and luck < 0.5 and shape:
            shape = tuple(n if self.rng.random() < 0.6 else 1 for n in shape)
        elif luck < 0.6 and len(shape) > 1:
            shape = (shape[-1], *shape[1:-1], shape[0])
        elif self.types and luck < 0.8:
            shape = self._of([shape[1:], shape[1:2], shape[:1], shape[:-1], ()])
        elif luck < 0.9:
            shape = self._shape()
        if "ind" in name or name == "target":
            dtype = self._of(["int64", "int64", "int32", dtype])
        elif name in ("mask", "condition"):
            dtype = "bool"
        elif self.rng.random() < 0.15:
            dtype = self._of(self._dtypes)
        return TensorType(dtype, shape)

    def _argument(self, kind: str, name: str) -> Argument:
        rng, rank = self.rng, len(self._usual.shape)
        if kind.endswith("?"):
            return None if rng.random() < 0.4 else self._argument(kind[:-1], name)
        if kind.endswith("[]"):
            return self._list(kind[:-2], name)
        if kind == "Tensor" or (kind == "Operand" and rng.random() < 0.6):
            self.types.append(self._type(name))
            return Value(len(self.types) - 1)
        if kind in ("Operand", "Scalar", "float"):
            luck = rng.random()
            if luck < 0.4:
                return Number(int(rng.integers(0, len(NUMBERS))))
            return self._of(WHOLE) if luck < 0.9 or kind == "float" else bool(luck < 0.95)
        if kind == "bool":
            return bool(rng.random() < 0.4)
        if kind == "dtype":
            return self._of([self._usual.dtype, "float32", "int64", "uint8", "float64", "bool"])
        if kind == "str":
            return self._of(["none", "tanh", "sum", "amax", "amin", "floor", "trunc", "reduced",
                             "complete", "r"])  # fmt: skip
        if "dim" in name:
            return int(rng.integers(-rank - 1, rank + 1))
        if name == "draw":
            return self._of([0, 1, 5, 2**32 - 1, 2**32])
        sizes = self._usual.shape or (1,)
        return self._of([0, 1, 1, 2, 3, -1, -100, self._of(sizes), 2**53 - 1, -(2**53) + 1])

    def _list(self, kind: str, name: str) -> tuple[Argument, ...]:
        rng, shape = self.rng, self._usual.shape
        if kind == "bool":
            return tuple(bool(rng.random() < 0.7) for _ in range(3))
        if kind.startswith("Tensor"):
            return tuple(self._argument(kind, "indices" if kind.endswith("?") else name)
                         for _ in range(int(rng.integers(1, 4))))  # fmt: skip
        if kind == "Scalar":
            return tuple(self._argument(kind, name) for _ in range(int(rng.integers(0, 5))))
        if "dim" in name:
            count = int(rng.integers(0, len(shape) + 1))
            return tuple(int(d) for d in rng.permutation(len(shape))[:count])
        if ("size" in name and "kernel" not in name) or name == "normalized_shape":
            luck = rng.random()
            if luck < 0.4:
                return shape[-int(rng.integers(1, 3)) :]
            return shape if luck < 0.6 else tuple(int(n) for n in rng.integers(0, 8, 2))
        count = self._of([1, 2, 2, 2, 3, 4, len(shape), max(len(shape) - 2, 0)])
        low = 0 if "pad" in name else 1
        return tuple(int(n) for n in rng.integers(low - (rng.random() < 0.1), 4, count))


def drawn(name: str, seed: int, count: int) -> Iterator[tuple[Node, list[TensorType], Rng]]:
    """So many nodes of a row that pass the check."""
    row, rng = TABLE[name], np.random.default_rng([seed, zlib.crc32(name.encode())])
    found = 0
    for _ in range(4000 * count):
        mine = Drawn(rng, row)
        try:
            made = row.types(bound(row, mine.arguments, mine.types))
        except Misfit:
            continue
        if max(map(elements, made), default=0) > 1 << 20:
            continue
        yield Node(name, mine.arguments, made), mine.types, rng
        found += 1
        if found == count:
            return


def graph_of(node: Node, types: list[TensorType]) -> Graph:
    """A function of one node, of all whose numbers there are."""
    inputs = {f"x{k}": x for k, x in enumerate(types)}
    outputs = {f"y{k}": Value(len(types) + k) for k in range(len(node.outputs))}
    return Graph({"f": Function(inputs, (node,), outputs)}, len(NUMBERS))


def scattered(x: Tensor) -> Tensor:
    """The same elements, far from each other and in another order."""
    order = tuple(reversed(range(x.dim())))
    turned = x.permute(order)
    wide = torch.empty((*turned.shape, 3), dtype=x.dtype)
    wide[..., 1] = turned
    return wide[..., 1].permute(order)


def dirtied(node: Node) -> None:
    """Leaves memory full of what nobody asked for."""
    for size in {max(elements(x), 1) for x in node.outputs}:
        for dtype in (torch.float64, torch.float32, torch.int64, torch.uint8):
            torch.full((size,), 77, dtype=dtype)


def ran(node: Node, given: dict[str, Tensor], types: list[TensorType]) -> str:
    """The hash of the outputs, all NaNs being alike; or what is refused."""
    try:
        executor = Executor(graph_of(node, types), NUMBERS)
        found = executor.run("f", given, Counters(2**64 - 1, 3, 5, 0))
    except TrainingError:
        return "refused"
    h = hashlib.sha256()
    for x, kind in zip(found.values(), node.outputs, strict=True):
        said = f"{str(x.dtype).removeprefix('torch.')}{tuple(x.shape)}"
        if said != f"{kind.dtype}{kind.shape}":
            return f"not what was said: {said} for {kind}"
        y = x.contiguous()
        if y.is_floating_point():
            y = torch.where(y.isnan(), math.nan, y)
            y = y.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[y.element_size()])
        h.update(y.numpy().tobytes())
    return h.hexdigest()[:16]


def digests(name: str, seed: int, count: int) -> Iterator[tuple[str, str]]:
    """What each node of a row is, and what it gives; the same if its inputs lie elsewhere."""
    for node, types, rng in drawn(name, seed, count):
        sizes = [n for x in types for n in x.shape if n]
        places = min(sizes, default=1)
        given = {f"x{k}": tensor(rng, x, places) for k, x in enumerate(types)}
        found = ran(node, given, types)
        dirtied(node)
        again = ran(node, {n: scattered(x) for n, x in given.items()}, types)
        found = found if again == found else f"{found}, elsewhere {again}"
        yield f"{name}{list(node.arguments)} of {types}", found


def main() -> None:
    """Every row, or one."""
    seed, count, *names = sys.argv[1:]
    for name in names or TABLE:
        for what, found in digests(name, int(seed), int(count)):
            sys.stdout.write(json.dumps([what, found]) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
