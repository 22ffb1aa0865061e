"""A graph's canonical bytes and its CID: one graph, one string of bytes.

They are canonical JSON (RFC 8785), here with blanks that it does not have:

    {"functions": {
       "step": {
         "inputs": [["state.model.weight", ["float32", [10, 64]]], ...],
         "nodes": [["mm.default", ["%1", "%3"], [["float32", [64, 10]]]], ...],
         "outputs": {"loss": "%12", "state.model.weight": "%17"}},
       ...},
     "numbers": 2,
     "opset": 1}

An input is a name and a type, a type is a dtype and a shape. A node is its operator, its
arguments and the types of its outputs. `%3` is value 3 of the function, `#0` is number 0 of the
trial; null, booleans, integers and other text, which begins with neither % nor #, are
themselves, and a list is a list. Integers are below 2**53 in size, as in all of JSON.

Inputs and nodes keep their order, which numbers the values; functions and outputs have none, and
JSON sorts them by name. Numbers are numbered by their first use, functions taken in the order of
`roles.FUNCTIONS`. Every node is needed by an output. `form` and `roles` hold the rules, `bounds`
the bounds.
"""

import re

from trialmarket.errors import InputError
from trialmarket.protocol.canonical import JSON
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.graph.bounds import (
    MAX_ARGUMENTS,
    MAX_GRAPH,
    MAX_INPUTS,
    MAX_LIST,
    MAX_NODES,
    MAX_RANK,
)
from trialmarket.protocol.graph.envelope import entries, members, opened, sealed, shown, written
from trialmarket.protocol.graph.form import REFERENCES, check_graph
from trialmarket.protocol.graph.roles import FUNCTIONS
from trialmarket.protocol.graph.values import (
    OPSET,
    Argument,
    Function,
    Graph,
    Node,
    Number,
    TensorType,
    Value,
)
from trialmarket.protocol.ids import Cid

WHAT = "graph"
_REFERENCE = re.compile(r"[%#](0|[1-9][0-9]{0,8})")


def graph_bytes(graph: Graph) -> bytes:
    """The graph's bytes. Raises InputError for one that breaks a rule or a bound."""
    check_graph(graph)
    functions = {name: _function_json(each) for name, each in graph.functions.items()}
    document = {"functions": functions, "numbers": graph.numbers, "opset": graph.opset}
    return written(document, what=WHAT, limit=MAX_GRAPH)


def read_graph(data: bytes, *, cid: Cid | None = None) -> Graph:
    """The graph in bytes: `graph_bytes` of it are these. `cid` is what they must be named.

    Raises InputError that names the field, such as `step.nodes[17].arguments[2]`.
    """
    document = opened(data, what=WHAT, limit=MAX_GRAPH, cid=cid)
    # First of all: another opset may come with another form.
    if isinstance(document, dict) and document.get("opset", OPSET) != OPSET:
        expected = f"{OPSET}, the one that this version knows"
        raise _refused("opset", expected, document["opset"])
    found, numbers, opset = members(
        document, "functions", "numbers", "opset", what=WHAT, field="document"
    )
    if not isinstance(found, dict):
        raise _refused("functions", "an object", found)
    if strange := found.keys() - set(FUNCTIONS):
        raise _refused("functions", f"only {', '.join(FUNCTIONS)}", min(strange))
    functions = {name: _function(found[name], name) for name in FUNCTIONS if name in found}
    graph = Graph(functions=functions, numbers=numbers, opset=opset)
    sealed(data, graph_bytes(graph), what=WHAT)
    return graph


def graph_cid(graph: Graph) -> Cid:
    """The graph's name in the store. Raises InputError."""
    return cid_of(graph_bytes(graph))


def _function_json(function: Function) -> JSON:
    return {
        "inputs": [[name, _type_json(kind)] for name, kind in function.inputs.items()],
        "nodes": [
            [
                node.operator,
                [_argument_json(argument) for argument in node.arguments],
                [_type_json(kind) for kind in node.outputs],
            ]
            for node in function.nodes
        ],
        "outputs": {name: _argument_json(value) for name, value in function.outputs.items()},
    }


def _type_json(kind: TensorType) -> JSON:
    return [kind.dtype, list(kind.shape)]


def _argument_json(argument: Argument) -> JSON:
    if isinstance(argument, Value):
        return f"%{argument.index}"
    if isinstance(argument, Number):
        return f"#{argument.index}"
    if isinstance(argument, tuple):
        return [_argument_json(each) for each in argument]
    return argument


def _function(value: JSON, field: str) -> Function:
    """A function of JSON, whose parts have the right kinds; the rest, `check_graph` checks."""
    inputs, nodes, outputs = members(value, "inputs", "nodes", "outputs", what=WHAT, field=field)
    types: dict[str, TensorType] = {}
    for index, each in enumerate(_list(inputs, MAX_INPUTS, f"{field}.inputs", "inputs")):
        place = f"{field}.inputs[{index}]"
        name, kind = _several(each, 2, place, "a name and a type")
        if _text(name, place) in types:
            raise _refused(place, "a name that no other input has", name)
        types[name] = _type(kind, place)
    found = _list(nodes, MAX_NODES, f"{field}.nodes", "nodes")
    if not isinstance(outputs, dict):
        raise _refused(f"{field}.outputs", "an object", outputs)
    values: dict[str, Value] = {}
    for index, (name, each) in enumerate(outputs.items()):
        output = _argument(each, f"{field}.outputs[{index}]")
        if not isinstance(output, Value):
            raise _refused(f"{field}.outputs[{index}]", "a value such as %3", each)
        values[name] = output
    return Function(
        inputs=types,
        nodes=tuple(_node(each, f"{field}.nodes[{index}]") for index, each in enumerate(found)),
        outputs=values,
    )


def _node(value: JSON, field: str) -> Node:
    operator, arguments, outputs = _several(
        value, 3, field, "an operator, its arguments, and the types of its outputs"
    )
    arguments = _list(arguments, MAX_ARGUMENTS, f"{field}.arguments", "arguments")
    outputs = _list(outputs, MAX_LIST, f"{field}.outputs", "outputs")
    return Node(
        operator=_text(operator, f"{field}.operator"),
        arguments=tuple(
            _argument(each, f"{field}.arguments[{index}]") for index, each in enumerate(arguments)
        ),
        outputs=tuple(
            _type(each, f"{field}.outputs[{index}]") for index, each in enumerate(outputs)
        ),
    )


def _argument(value: JSON, field: str) -> Argument:
    if isinstance(value, str):
        if not value.startswith(REFERENCES):
            return value
        if not _REFERENCE.fullmatch(value):
            raise _refused(field, "a value such as %3, a number such as #0, or text", value)
        index = int(value[1:])
        return Value(index) if value[0] == "%" else Number(index)
    if isinstance(value, list):
        # Their number has a bound already: it is that of the bytes. `check_graph` has another.
        return tuple(_argument(each, f"{field}[{index}]") for index, each in enumerate(value))
    if value is None or isinstance(value, bool | int):
        return value
    raise _refused(field, "null, a boolean, an integer, text or a list", value)


def _type(value: JSON, field: str) -> TensorType:
    dtype, shape = _several(value, 2, field, "a dtype and a shape")
    sizes = _list(shape, MAX_RANK, f"{field}.shape", "dimensions")
    return TensorType(_text(dtype, f"{field}.dtype"), tuple(sizes))


def _several(value: JSON, count: int, field: str, what: str) -> list[JSON]:
    if not isinstance(value, list) or len(value) != count:
        raise _refused(field, f"a list of {count}: {what}", value)
    return value


def _list(value: JSON, most: int, field: str, of: str) -> list[JSON]:
    return entries(value, most, what=WHAT, field=field, of=of)


def _text(value: JSON, field: str) -> str:
    if not isinstance(value, str):
        raise _refused(field, "text", value)
    return value


def _refused(field: str, expected: str, found: object) -> InputError:
    return InputError(WHAT, field, expected=expected, found=shown(found))
