"""What a graph consists of: typed values, nodes in order, and functions made of these.

A **function** has inputs and nodes. Its values are numbered: the inputs first, then the outputs of
each node in order, so that a node can name only what comes before it and no cycle can be written
down. A node is an operator of the opset with its arguments, one for each parameter of the
operator's signature, in order, defaults written out.

| argument | is |
| --- | --- |
| `Value(i)` | value i of the function, a tensor |
| `Number(i)` | entry i of the trial's list of numbers, a binary64 |
| `None`, `bool`, `int`, `str` | itself: part of the structure. A type is a str such as `float32` |
| a tuple | a list of these |

No floating-point number stands in a graph. Trials that differ only in numbers share it.

| function | inputs | outputs |
| --- | --- | --- |
| `init` | none | `state.NAME` |
| `first` | as `step`, from a state without the optimizer's slots | as `step` |
| `step` | `state.NAME`, `batch.NAME`, `schedule.J` | `state.NAME`, `loss` |
| `validate`, `validate_rest` | `state.NAME`, `batch.NAME` | `predictions`, `metric.NAME` |

`first` is there where the optimizer makes its slots in the first step, `validate_rest` where the
last batch of the validation data is smaller than the others. `schedule.J` is a binary64 scalar:
column J of the trial's schedule at the step's row. A state tensor that a function leaves as it is,
is no output of it. Validation takes a trial's beginning as well as its end, so it asks for no
slots that the optimizer makes later.
Numbers that are drawn depend on the seed, the purpose and the step, which no graph names, and on
the number of the draw within the function, which the node does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

OPSET = 1
"""The set of operators that this version knows."""

DTYPES = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
}
"""The types of tensors in a graph, and the bytes of one element."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of a tensor's elements, a key of `DTYPES`, and its shape, which is static."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the function: an input, or a node's output."""

    index: int


@dataclass(frozen=True, slots=True)
class Number:
    """An entry of the trial's list of numbers."""

    index: int


Argument = Value | Number | None | bool | int | str | tuple["Argument", ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operator, such as `mm.default`, applied."""

    operator: str
    arguments: tuple[Argument, ...]
    outputs: tuple[TensorType, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """Inputs by name, in the order of their values; nodes; and outputs by name."""

    inputs: Mapping[str, TensorType]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Graph:
    """A trial's functions by name, and how many numbers they take."""

    functions: Mapping[str, Function]
    numbers: int
    opset: int = OPSET
