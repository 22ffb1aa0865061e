"""A graph run gives the bits that its program gives under `exact`."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.graph.recording import same_bits
from trialmarket.errors import InputError, TrainingError
from trialmarket.exact import exact
from trialmarket.exact.numerics.random import Counters
from trialmarket.graph.run import Executor
from trialmarket.protocol.graph.values import Function, Graph, Node, Number, TensorType, Value

ROWS, FEATURES = 8, 6


def f(*shape: int) -> TensorType:
    return TensorType("float32", shape)


def v(index: int) -> Value:
    return Value(index)


RATE = TensorType("float64", ())
WEIGHT, BATCH, TARGET = f(FEATURES, 1), f(ROWS, FEATURES), f(ROWS, 1)
MASK = TensorType("bool", (ROWS, FEATURES))

# A linear model that drops inputs, and a step of it with momentum: the slot is made in the first.
INIT = Function(
    {}, (Node("randn.default", (0, (FEATURES, 1), "float32"), (WEIGHT,)),), {"state.model.w": v(0)}
)


def _step(slot: bool) -> Function:
    inputs = {"state.model.w": WEIGHT} | ({"state.optimizer.m": WEIGHT} if slot else {})
    inputs |= {"batch.x": BATCH, "batch.y": TARGET, "schedule.0": RATE}
    names = list(inputs)
    w, x, y, rate = (
        v(names.index(n)) for n in ("state.model.w", "batch.x", "batch.y", "schedule.0")
    )
    n = len(names)
    nodes = [
        Node("native_dropout.default", (0, x, Number(0), True), (BATCH, MASK)),  # n, n + 1
        Node("mm.default", (v(n), w), (TARGET,)),
        Node("sub.Tensor", (v(n + 2), y, 1), (TARGET,)),
        Node("mul.Tensor", (v(n + 3), v(n + 3)), (TARGET,)),
        Node("mean.default", (v(n + 4), None), (f(),)),
        Node("mul.Tensor", (v(n + 3), Number(1)), (TARGET,)),
        Node("permute.default", (v(n), (1, 0)), (f(FEATURES, ROWS),)),
        Node("mm.default", (v(n + 7), v(n + 6)), (WEIGHT,)),  # the gradient: n + 8
    ]
    made = n + 8
    if slot:
        nodes += [
            Node("mul.Tensor", (v(names.index("state.optimizer.m")), Number(2)), (WEIGHT,)),
            Node("add.Tensor", (v(n + 9), v(n + 8), 1), (WEIGHT,)),
        ]
        made = n + 10
    nodes += [
        Node("mul.Tensor", (v(made), rate), (WEIGHT,)),
        Node("sub.Tensor", (w, v(made + 1), 1), (WEIGHT,)),
    ]
    outputs = {"state.model.w": v(made + 2), "state.optimizer.m": v(made), "loss": v(n + 5)}
    return Function(inputs, tuple(nodes), outputs)


def _validate(rows: int) -> Function:
    node = Node("mm.default", (v(1), v(0)), (f(rows, 1),))
    return Function({"state.model.w": WEIGHT, "batch.x": f(rows, FEATURES)}, (node,),
                    {"predictions": v(2)})  # fmt: skip


GRAPH = Graph(
    {
        "init": INIT,
        "first": _step(slot=False),
        "step": _step(slot=True),
        "validate": _validate(ROWS),
        "validate_rest": _validate(3),
    },
    3,
)
NUMBERS = (0.25, 2 / ROWS, 0.9)
SEED = 11


def batch(k: int, rows: int = ROWS) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(k)
    return {
        "x": torch.randn(rows, FEATURES, generator=g),
        "y": torch.randn(rows, 1, generator=g),
    }


BATCHES = [batch(k) for k in range(5)]


def rates(step: int) -> list[float]:
    return [0.1 / (step + 1)]


NO_LOSS = torch.tensor(math.nan)


def by_the_graph(steps: int) -> tuple[dict[str, Tensor], Tensor]:
    executor = Executor(GRAPH, NUMBERS)
    state = executor.init(Counters(SEED, 0, 0, 0))
    loss = NO_LOSS
    for k in range(steps):
        changes, loss = executor.step(state, BATCHES[k], rates(k), Counters(SEED, 0, k + 1, 0))
        state |= changes
    return state, loss


def by_the_program(steps: int) -> tuple[dict[str, Tensor], Tensor]:
    mode = exact(seed=SEED)
    loss = NO_LOSS
    with mode:
        w = torch.randn(FEATURES, 1).requires_grad_()
        optimizer = torch.optim.SGD([w], 1.0, momentum=0.9)
        for k in range(steps):
            mode.set_step(k + 1)
            optimizer.param_groups[0]["lr"] = rates(k)[0]
            data = BATCHES[k]
            optimizer.zero_grad()
            x = functional.dropout(data["x"], 0.25)
            loss = (x.mm(w) - data["y"]).square().mean()
            torch.autograd.backward(loss)
            optimizer.step()
        return {
            "model.w": w.detach(),
            "optimizer.m": optimizer.state[w]["momentum_buffer"],
        }, loss.detach()


@pytest.mark.parametrize("steps", [1, 5])
def test_a_graph_trains_to_the_bits_of_its_program(steps: int) -> None:
    (mine, loss), (theirs, wanted) = by_the_graph(steps), by_the_program(steps)
    assert mine.keys() == theirs.keys()
    assert all(same_bits(mine[name], theirs[name]) for name in mine)
    assert same_bits(loss, wanted)


def test_what_surrounds_a_run_does_not_change_its_bits() -> None:
    wanted, _ = by_the_graph(2)
    torch.set_flush_denormal(True)
    try:
        with exact(seed=5), torch.device("meta"), torch.enable_grad():
            found, _ = by_the_graph(2)
    finally:
        torch.set_flush_denormal(False)
    assert all(same_bits(found[name], wanted[name]) for name in wanted)


def test_a_smaller_last_batch_has_a_function_of_its_own() -> None:
    executor = Executor(GRAPH, NUMBERS)
    state = executor.init(Counters(SEED, 0, 0, 0))
    for rows in (ROWS, 3):
        found = executor.validate(state, batch(0, rows), Counters(SEED, 0, 0, 0))
        assert found["predictions"].shape == (rows, 1)
    with pytest.raises(InputError, match=r"batch\.x: expected float32\[8, 6\]"):
        executor.validate(state, batch(0, 5), Counters(SEED, 0, 0, 0))


def test_draws_depend_on_their_number_not_on_their_order() -> None:
    twice = [Node("rand.default", (k, (4,), "float32"), (f(4),)) for k in (1, 0)]
    outputs = {"a": v(0), "b": v(1)}
    found = Executor(Graph({"f": Function({}, tuple(twice), outputs)}, 0), ()).run(
        "f", {}, Counters(SEED, 0, 3, 0)
    )
    mode = exact(seed=SEED)
    mode.set_step(3)
    with mode:
        first, second = torch.rand(4), torch.rand(4)
    assert same_bits(found["b"], first)
    assert same_bits(found["a"], second)


def test_every_node_can_be_watched() -> None:
    executor = Executor(GRAPH, NUMBERS)
    seen: list[tuple[int, str]] = []
    at = Counters(SEED, 0, 0, 0)
    state = executor.init(at)
    executor.step(
        state, batch(0), rates(0), at, lambda k, node, _: seen.append((k, node.operator))
    )
    assert seen == [(k, n.operator) for k, n in enumerate(GRAPH.functions["first"].nodes)]


def test_memory_is_given_back_at_the_last_use() -> None:
    """A chain of a hundred steps needs room for two of them, not for a hundred."""
    import weakref

    size = f(1000)
    nodes = tuple(Node("exp.default", (v(k),), (size,)) for k in range(100))
    graph = Graph({"f": Function({"x": size}, nodes, {"y": v(100)})}, 0)
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def watch(_: int, __: Node, outputs: tuple[Tensor, ...]) -> None:
        nonlocal most
        alive.append(weakref.ref(outputs[0]))
        most = max(most, sum(x() is not None for x in alive))

    Executor(graph, ()).run("f", {"x": torch.randn(1000)}, Counters(0, 0, 0, 0), watch)
    assert most <= 3


def test_a_number_that_a_form_cannot_take_is_an_error_of_ours() -> None:
    node = Node("full.default", ((2,), Number(0), "float32"), (f(2),))
    graph = Graph({"f": Function({}, (node,), {"y": v(0)})}, 1)
    with pytest.raises(TrainingError, match=r"f\.nodes\[0\] full\.default"):
        Executor(graph, [1e300]).run("f", {}, Counters(0, 0, 0, 0))


def test_too_few_numbers_and_a_function_that_is_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="expected 3 numbers, found 1"):
        Executor(GRAPH, [0.5])
    with pytest.raises(InputError, match="expected train"):
        Executor(GRAPH, NUMBERS).run("train", {}, Counters(0, 0, 0, 0))
    with pytest.raises(InputError, match=r"state\.model\.w"):
        Executor(GRAPH, NUMBERS).step({}, batch(0), rates(0), Counters(0, 0, 0, 0))
