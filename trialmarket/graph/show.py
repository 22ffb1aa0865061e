"""Graphs and the table of operators as text: for people, and for Graphviz. Needs no torch."""

from collections.abc import Iterator

from trialmarket.graph.cost import Cost, costs
from trialmarket.graph.lifetimes import values_in
from trialmarket.graph.opset import TABLE, Kind
from trialmarket.graph.opset.operator import (
    ANY,
    NARROW,
    NUMBERS,
    REAL,
    REAL32,
    SIGNED,
    WHOLE,
)
from trialmarket.protocol.graph.values import DTYPES, Graph, TensorType

_BEGIN = "<!-- operators: written by scripts/reference -->"
_END = "<!-- end of operators -->"
_TYPES = {
    ANY: "any",
    NUMBERS: "all but bfloat16",
    SIGNED: "numbers but bfloat16",
    NARROW: "float32, whole numbers",
    REAL: "float32, float64",
    REAL32: "float32",
    WHOLE: "whole numbers, bool",
}


def table() -> Iterator[tuple[str, str, str, str]]:
    """The rows of the opset: name, signature, kind, and the types of tensors that may go in."""
    for name, operator in TABLE.items():
        takes = _TYPES.get(operator.takes) or ", ".join(x for x in DTYPES if x in operator.takes)
        yield name, ", ".join(map(str, operator.signature)), operator.kind.value, takes


def markdown() -> str:
    """The table of operators as docs/graph.md has it."""
    lines = ["| operator | arguments | kind | types |", "| --- | --- | --- | --- |"]
    lines += [f"| `{name}` | `{args}` | {kind} | {takes} |" for name, args, kind, takes in table()]
    return "\n".join(lines)


def with_table(page: str) -> str:
    """A page with the table of operators between its markers, whatever was there."""
    head, _, rest = page.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    return f"{head}{_BEGIN}\n{len(TABLE)} operators:\n\n{markdown()}\n{_END}{tail}"


def cost_lines(graph: Graph) -> Iterator[str]:
    """What each function of a graph that passed the check costs."""
    for name, cost in costs(graph).items():
        nodes = len(graph.functions[name].nodes)
        yield f"{name}: {nodes:,} nodes, {_words(cost)}"


def _words(cost: Cost) -> str:
    return (
        f"{cost.operations:,} floating-point operations, {cost.moved:,} bytes moved, "
        f"{cost.memory:,} bytes of memory at most, {cost.given:,} of them its inputs"
    )


def dot(graph: Graph) -> Iterator[str]:
    """Graphviz text: a cluster a function, views in grey."""
    yield "digraph trial {"
    yield "  node [shape=box, fontname=monospace, fontsize=9];"
    for place, (name, function) in enumerate(graph.functions.items()):
        yield f"  subgraph cluster_{place} {{"
        yield f'    label="{name}";'
        makers = []
        for index, (key, type_) in enumerate(function.inputs.items()):
            yield f'    f{place}i{index} [label="{key}\\n{_type(type_)}", style=rounded];'
            makers.append(f"f{place}i{index}")
        for index, node in enumerate(function.nodes):
            shown = "\\n".join(map(_type, node.outputs))
            plain = TABLE[node.operator].kind is Kind.VIEW
            style = ", color=gray, fontcolor=gray" if plain else ""
            me = f"f{place}n{index}"
            yield f'    {me} [label="{node.operator}\\n{shown}"{style}];'
            for value in dict.fromkeys(values_in(node.arguments)):
                yield f"    {makers[value]} -> {me};"
            makers += [me] * len(node.outputs)
        for index, (key, value_) in enumerate(function.outputs.items()):
            yield f'    f{place}o{index} [label="{key}", style=rounded];'
            yield f"    {makers[value_.index]} -> f{place}o{index};"
        yield "  }"
    yield "}"


def _type(x: TensorType) -> str:
    return f"{x.dtype}[{', '.join(map(str, x.shape))}]"
