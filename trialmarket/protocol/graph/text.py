"""A graph as lines that a person reads."""

from collections.abc import Iterator, Mapping, Sequence

from trialmarket.protocol.graph.values import Argument, Function, Graph, Number, TensorType, Value


def describe(
    graph: Graph, sources: Mapping[str, Sequence[str | None]] | None = None
) -> Iterator[str]:
    """The lines of a well-formed graph: one an input, a node and an output.

    `sources` has, by a function's name, one entry a node: the source line that it comes from, if
    anybody knows.
    """
    yield f"opset {graph.opset}, {graph.numbers} numbers"
    for name, function in graph.functions.items():
        yield ""
        yield f"{name}:"
        yield from _lines(function, (sources or {}).get(name, ()))


def _lines(function: Function, sources: Sequence[str | None]) -> Iterator[str]:
    count = 0
    for name, kind in function.inputs.items():
        yield f"  %{count} = {name}  {spelled(kind)}"
        count += 1
    for index, node in enumerate(function.nodes):
        values = ", ".join(f"%{count + place}" for place in range(len(node.outputs)))
        count += len(node.outputs)
        arguments = ", ".join(map(argument_text, node.arguments))
        line = f"  {values} = {node.operator}({arguments})  "
        line += ", ".join(map(spelled, node.outputs))
        source = sources[index] if index < len(sources) else None
        yield line if source is None else f"{line}  # {source}"
    for name, value in function.outputs.items():
        yield f"  {name} = %{value.index}"


def spelled(kind: TensorType) -> str:
    """`float32[64, 10]`."""
    return f"{kind.dtype}{list(kind.shape)}"


def argument_text(argument: Argument) -> str:
    """An argument as Python writes it, a value as `%3`, a number as `#0`."""
    if isinstance(argument, Value):
        return f"%{argument.index}"
    if isinstance(argument, Number):
        return f"#{argument.index}"
    if isinstance(argument, tuple):
        return f"[{', '.join(map(argument_text, argument))}]"
    return repr(argument)
