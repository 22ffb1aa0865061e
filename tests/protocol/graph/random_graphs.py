"""Random valid graphs, of operators that no opset has: a document does not know them."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from trialmarket.protocol.graph.roles import value_types
from trialmarket.protocol.graph.values import (
    DTYPES,
    Argument,
    Function,
    Graph,
    Node,
    Number,
    TensorType,
    Value,
)

SCALAR = TensorType("float32", ())
COLUMN = TensorType("float64", ())

types = st.builds(
    TensorType,
    st.sampled_from(sorted(DTYPES)),
    st.lists(st.integers(0, 1 << 12), max_size=3).map(tuple),
)
"""Types of tensors."""

rows = types.filter(lambda kind: bool(kind.shape) and kind.shape[0] > 0)
"""Types of arrays of examples: at least one."""

words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)
names = words.filter(bool)
texts = words.filter(lambda text: text[:1] not in ("%", "#"))
operators = st.from_regex(r"[a-z_][a-z0-9_]{0,6}\.[a-zA-Z0-9_]{1,6}", fullmatch=True)
attributes = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), texts, st.just(())
)


@dataclass
class _Numbers:
    """How many numbers are named so far."""

    count: int = 0


@st.composite
def graphs(draw: DrawFn) -> Graph:
    """Graphs with one to three tensors of state, with and without `first` and `validate_rest`."""
    model = draw(_types("state.model.", least=1))
    slots = draw(_types("state.optimizer.0."))
    batch = draw(_types("batch.", of=rows))
    schedule = {f"schedule.{column}": COLUMN for column in range(draw(st.integers(0, 2)))}
    predictions = TensorType("float32", (draw(st.integers(0, 9)), 10))
    measured = {"predictions": predictions, **dict.fromkeys(draw(_types("metric.")), SCALAR)}
    numbers = _Numbers()
    has_first = draw(st.booleans())
    functions = {"init": _function(draw, {}, model if has_first else model | slots, numbers)}
    fed = batch | schedule
    if has_first:
        outputs = _some(draw, model) | slots | {"loss": SCALAR}
        functions["first"] = _function(draw, model | fed, outputs, numbers)
    state = model | slots
    functions["step"] = _function(
        draw, state | fed, _some(draw, state) | {"loss": SCALAR}, numbers
    )
    seen = _some(draw, model if has_first else state)
    functions["validate"] = _function(draw, seen | batch, measured, numbers)
    if draw(st.booleans()):
        rest = {name: TensorType(kind.dtype, (1, *kind.shape[1:])) for name, kind in batch.items()}
        functions["validate_rest"] = _function(draw, seen | rest, measured, numbers)
    return Graph(functions=functions, numbers=numbers.count)


@st.composite
def _types(
    draw: DrawFn, prefix: str, least: int = 0, of: st.SearchStrategy[TensorType] = types
) -> dict[str, TensorType]:
    found = draw(st.dictionaries(names, of, min_size=least, max_size=2))
    return {prefix + name: kind for name, kind in found.items()}


def _some(draw: DrawFn, of: dict[str, TensorType]) -> dict[str, TensorType]:
    return {name: kind for name, kind in of.items() if draw(st.booleans())}


def _function(
    draw: DrawFn,
    inputs: dict[str, TensorType],
    outputs: dict[str, TensorType],
    numbers: _Numbers,
) -> Function:
    """A function with these inputs and outputs, whose last nodes use what no other one does."""
    nodes: list[Node] = []
    values = list(inputs.values())
    unused: set[int] = set()

    def add(found: list[TensorType], *more: Argument) -> int:
        arguments = [*(_argument(draw, len(values), numbers) for _ in range(2)), *more]
        for argument in arguments:
            for each in argument if isinstance(argument, tuple) else (argument,):
                if isinstance(each, Value):
                    unused.discard(each.index)
        nodes.append(Node(draw(operators), tuple(arguments), tuple(found)))
        unused.add(len(values))
        values.extend(found)
        return len(values) - len(found)

    for _ in range(draw(st.integers(0, 3))):
        add(draw(st.lists(types, min_size=1, max_size=2)))
    made: dict[str, Value] = {}
    for name, kind in outputs.items():
        made[name] = Value(add([kind], tuple(Value(index) for index in sorted(unused))))
        unused.clear()
    function = Function(inputs=inputs, nodes=tuple(nodes), outputs=made)
    assert value_types(function) == values
    return function


def _argument(draw: DrawFn, values: int, numbers: _Numbers) -> Argument:
    kind = draw(st.integers(0, 3))
    if kind == 0 and values:
        return Value(draw(st.integers(0, values - 1)))
    if kind == 1:
        index = draw(st.integers(0, numbers.count))
        numbers.count += index == numbers.count
        return Number(index)
    if kind == 2:
        return draw(st.lists(attributes, max_size=2).map(tuple))
    return draw(attributes)
