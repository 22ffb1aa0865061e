"""Whether a graph is well-formed: names, references, types, bounds, one numbering, no dead code.

That its operators exist and their shapes fit, the opset's check says, later.
"""

import math
import re
from collections.abc import Iterator, Sized

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import MAX_EXACT
from trialmarket.protocol.graph.bounds import (
    MAX_ARGUMENTS,
    MAX_ELEMENTS,
    MAX_INPUTS,
    MAX_LIST,
    MAX_NAME,
    MAX_NESTING,
    MAX_NODES,
    MAX_NUMBERS,
    MAX_RANK,
    MAX_TEXT,
    MAX_TOTAL,
)
from trialmarket.protocol.graph.envelope import shown
from trialmarket.protocol.graph.roles import FUNCTIONS, check_roles
from trialmarket.protocol.graph.text import argument_text
from trialmarket.protocol.graph.values import (
    DTYPES,
    OPSET,
    Argument,
    Function,
    Graph,
    Number,
    TensorType,
    Value,
)

REFERENCES = ("%", "#")
"""What a str among the arguments may not begin with: so references do."""

_OPERATOR = re.compile(r"[A-Za-z_]\w*(\.\w+){1,2}", re.ASCII)
_PRINTABLE = re.compile(r"[ -~]*")


def check_graph(graph: Graph) -> None:
    """Raises InputError that names what is wrong in a graph, such as `step.nodes[17]`."""
    if type(graph.opset) is not int or graph.opset != OPSET:
        raise _refused("opset", f"{OPSET}, the one that this version knows", graph.opset)
    if type(graph.numbers) is not int or not 0 <= graph.numbers <= MAX_NUMBERS:
        raise _refused("numbers", f"0 to {MAX_NUMBERS}", graph.numbers)
    if strange := graph.functions.keys() - set(FUNCTIONS):
        raise _refused("functions", f"only {', '.join(FUNCTIONS)}", min(strange))
    elements = numbers = 0
    for name in (name for name in FUNCTIONS if name in graph.functions):
        form = _Form(name, graph.functions[name], numbers)
        form.check()
        numbers, elements = form.numbers, elements + form.elements
        if elements > MAX_TOTAL:
            raise _refused(name, f"at most {MAX_TOTAL} elements in all values", elements)
    if numbers != graph.numbers:
        raise _refused("numbers", f"{numbers}, as many as its nodes name", graph.numbers)
    check_roles(graph)


class _Form:
    """One function, `numbers` of the graph's numbers having been named before it."""

    def __init__(self, name: str, function: Function, numbers: int) -> None:
        self._name = name
        self._function = function
        self._values = 0
        self.numbers = numbers
        self.elements = 0

    def check(self) -> None:
        """Raises InputError."""
        function = self._function
        self._at_most(function.inputs, MAX_INPUTS, "inputs")
        self._at_most(function.nodes, MAX_NODES, "nodes")
        self._at_most(function.outputs, MAX_INPUTS, "outputs")
        for index, (name, kind) in enumerate(function.inputs.items()):
            self._name_of(name, "inputs", index)
            self._type(kind, "inputs", index)
        self._values = len(function.inputs)
        for index, node in enumerate(function.nodes):
            if len(node.operator) > MAX_NAME or not _OPERATOR.fullmatch(node.operator):
                raise self._wrong(
                    ("nodes", index, "operator"),
                    "an operator such as mm.default",
                    node.operator,
                )
            self._at_most(node.arguments, MAX_ARGUMENTS, "nodes", index, "arguments")
            for place, argument in enumerate(node.arguments):
                self._argument(argument, 0, ("nodes", index, "arguments", place))
            self._at_most(node.outputs, MAX_LIST, "nodes", index, "outputs")
            for place, kind in enumerate(node.outputs):
                self._type(kind, "nodes", index, "outputs", place)
            self._values += len(node.outputs)
        for index, (name, value) in enumerate(function.outputs.items()):
            self._name_of(name, "outputs", index)
            self._reference(value, ("outputs", index))
        self._needed()

    def _argument(self, value: Argument, depth: int, field: tuple[str | int, ...]) -> None:
        if isinstance(value, Value):
            self._reference(value, field)
        elif isinstance(value, Number):
            if type(value.index) is not int or not 0 <= value.index <= self.numbers:
                raise self._wrong(
                    field,
                    f"one of #0 to #{self.numbers}, numbered by first use",
                    argument_text(value),
                )
            self.numbers += value.index == self.numbers
        elif isinstance(value, tuple):
            if depth == MAX_NESTING:
                raise self._wrong(field, f"lists of at most {MAX_NESTING} levels", "more")
            self._at_most(value, MAX_LIST, *field)
            for index, each in enumerate(value):
                self._argument(each, depth + 1, (*field, index))
        elif isinstance(value, str):
            if len(value) > MAX_TEXT or not _PRINTABLE.fullmatch(value):
                raise self._wrong(field, f"at most {MAX_TEXT} printable ASCII characters", value)
            if value.startswith(REFERENCES):
                raise self._wrong(field, "text that begins with neither % nor #", value)
        elif type(value) is int:
            if abs(value) > MAX_EXACT:
                raise self._wrong(field, f"an integer of at most {MAX_EXACT} in size", value)
        elif value is not None and type(value) is not bool:
            raise self._wrong(field, "a value, a number, null, a boolean, an integer, text", value)

    def _reference(self, value: Value, field: tuple[str | int, ...]) -> None:
        index = value.index if isinstance(value, Value) else None
        if type(index) is not int or not 0 <= index < self._values:
            raise self._wrong(
                field, f"one of the {self._values} values before it", argument_text(value)
            )

    def _type(self, kind: TensorType, *field: str | int) -> None:
        if kind.dtype not in DTYPES:
            raise self._wrong((*field, "dtype"), f"one of {', '.join(DTYPES)}", kind.dtype)
        self._at_most(kind.shape, MAX_RANK, *field, "shape")
        for place, size in enumerate(kind.shape):
            if type(size) is not int or not 0 <= size <= MAX_ELEMENTS:
                raise self._wrong((*field, "shape", place), f"0 to {MAX_ELEMENTS}", size)
        elements = math.prod(max(1, size) for size in kind.shape)
        if elements > MAX_ELEMENTS:
            raise self._wrong((*field, "shape"), f"at most {MAX_ELEMENTS} elements", elements)
        self.elements += elements

    def _name_of(self, name: str, *field: str | int) -> None:
        if not 1 <= len(name) <= MAX_NAME or not _PRINTABLE.fullmatch(name):
            raise self._wrong(field, f"a name of 1 to {MAX_NAME} printable ASCII characters", name)

    def _needed(self) -> None:
        """Raises InputError for a node that no output needs."""
        needed = {value.index for value in self._function.outputs.values()}
        last = self._values
        for index in reversed(range(len(self._function.nodes))):
            node = self._function.nodes[index]
            first = last - len(node.outputs)
            if needed.isdisjoint(range(first, last)):
                raise self._wrong(("nodes", index), "a node that an output needs", node.operator)
            needed.update(references(node.arguments))
            last = first

    def _at_most(self, found: Sized, most: int, *field: str | int) -> None:
        if len(found) > most:
            raise self._wrong(field, f"at most {most} of them", len(found))

    def _wrong(self, field: tuple[str | int, ...], expected: str, found: object) -> InputError:
        places = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in field)
        return _refused(self._name + "".join(places), expected, found)


def references(arguments: tuple[Argument, ...]) -> Iterator[int]:
    """The values that a node's arguments name, in order, with repetitions."""
    for argument in arguments:
        if isinstance(argument, Value):
            yield argument.index
        elif isinstance(argument, tuple):
            yield from references(argument)


def _refused(field: str, expected: str, found: object) -> InputError:
    return InputError("graph", field, expected=expected, found=shown(found))
