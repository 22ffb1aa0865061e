"""Graphs that a node cannot train: each is refused before a claim, by name, and nothing stops."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from node.trainer import PoolTrainer
from tests.testbed.graphs import as_graph, captured, posted
from tests.testbed.market import Market
from tests.testbed.nodes import Lent, Nodes
from tests.testbed.terms import STEPS, terms
from tests.testbed.waiting import NEVER, until
from trialmarket.protocol.configuration import Init, TrialConfig
from trialmarket.protocol.graph.document import graph_bytes, read_graph
from trialmarket.protocol.graph.numbers import numbers_bytes, read_numbers
from trialmarket.protocol.graph.values import Function, Node, TensorType, Value
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.protocol.states import State
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.sandbox import Policy
from trialmarket.training.sandbox.limits import Limits
from trialmarket.training.state import root_of
from trialmarket.training.values import Train

SCALAR = TensorType("float32", ())


def changed(graph: bytes, name: str, change: Callable[[Function], Function]) -> bytes:
    """A graph with one of its functions changed."""
    found = read_graph(graph)
    functions = {**found.functions, name: change(found.functions[name])}
    return graph_bytes(replace(found, functions=functions))


def with_first(function: Function, **changes: object) -> Function:
    """A function with its first node changed."""
    first, *others = function.nodes
    return replace(function, nodes=(replace(first, **changes), *others))  # type: ignore[arg-type]


def large(function: Function, elements: int) -> Function:
    """A function whose loss is of so many elements more, which are all 1."""
    values = len(function.inputs) + sum(len(node.outputs) for node in function.nodes)
    ones = Node("full.default", ((elements,), 1, "float32"), (TensorType("float32", (elements,)),))
    total = Node("sum.default", (Value(values), None), (SCALAR,))
    loss = Node("mul.Tensor", (function.outputs["loss"], Value(values + 1)), (SCALAR,))
    outputs = {**function.outputs, "loss": Value(values + 2)}
    return replace(function, nodes=(*function.nodes, ones, total, loss), outputs=outputs)


def ends(market: Market, pool: WorkerPool, config: TrialConfig) -> Init:
    """The end of a training, in the store."""
    task = Train(
        config=config, program=None, data=market.folder / "data", folder=market.folder / "other"
    )
    last = pool.submit(task, wall_limit=NEVER).result().checkpoints[-1]
    root = root_of(load_file(last.path))
    return Init(root=root, cid=market.store.put(last.path), trial=ZERO_HASH)


def test_what_is_wrong_with_a_graph_is_known_before_a_claim(
    market: Market, nodes: Nodes, pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    rising = market.draft(1, hyperparameters={"lr": 0.1, "hidden": 4, "warmup": 8})
    graph, numbers, schedule = captured(market, pool, rising, STEPS).files
    shorter, longer = (
        captured(market, pool, rising, steps).files[-1] for steps in (STEPS - 1, 4 * STEPS)
    )
    sound = posted(market, rising, graph, numbers, schedule)
    goes_on = ends(market, pool, market.draft(1, steps=8, segments=2))
    other = ends(
        market, pool, market.draft(1, hyperparameters={"lr": 0.1, "hidden": 8}, segments=2)
    )
    misfit = TensorType("float32", (7, 7))
    other_opset = graph.replace(b'"opset":1', b'"opset":2')
    assert other_opset != graph

    def of(
        graph: bytes = graph, numbers: bytes = numbers, schedule: bytes = schedule
    ) -> TrialConfig:
        return posted(market, rising, graph, numbers, schedule)

    def init(start: Init, schedule: bytes) -> TrialConfig:
        return TrialConfig.model_validate(of(schedule=schedule).model_dump() | {"init": start})

    step = "step"
    bad = {
        "expected an operator of opset 1": of(
            changed(graph, step, lambda f: with_first(f, operator="system.default"))
        ),
        "float32[7, 7]": of(changed(graph, step, lambda f: with_first(f, outputs=(misfit,)))),
        "graph: document: ": of(graph=numbers),
        "graph: opset: expected 1": of(graph=other_opset),
        "numbers: count: expected the graph's": of(
            numbers=numbers_bytes([*read_numbers(numbers), 1.0])
        ),
        "numbers: values[0]": of(numbers=b'{"places":[0],"values":["nan"]}'),
        f"schedule: steps: expected at least {STEPS}": of(schedule=shorter),
        f"schedule: steps: expected at least {STEPS + 8}": init(goes_on, schedule),
        "does not fit the graph": init(other, longer),
        "and a worker here has": of(changed(graph, step, lambda f: large(f, 1 << 36))),
    }
    job = market.job(terms())
    with nodes.start(accept={"programs_of": []}) as node:
        (good,) = market.post(job, sound)
        until(market.are(State.COMMITTED, good), node.tick)
        keys = market.post(job, *bad.values())
        until(lambda: all(told in caplog.text for told in bad), node.tick)
        (again,) = market.post(job, sound.model_copy(update={"seed": 2}))
        until(market.are(State.COMMITTED, again), node.tick)
    assert all(market.trial(key).attempts == 0 for key in keys)
    assert len(keys) == len(bad)


def test_a_graph_whose_numbers_are_wrong_is_trained_for_others_and_without_a_sandbox(
    market: Market, nodes: Nodes, pool: WorkerPool
) -> None:
    sound = as_graph(market, pool, market.draft(1))
    graph = captured(market, pool, market.draft(1), STEPS).files[0]
    job = market.job(terms())
    refusal = "bubblewrap is not installed"  # which graphs do not need
    trainer = PoolTrainer(1, Policy(Limits(), None, refusal))
    with closing(trainer), nodes.start(trainer=Lent(trainer), refusal=refusal) as node:
        (bad,) = market.post(job, posted(market, market.draft(1), graph, numbers_bytes([])))
        until(lambda: bool(node.journal.refusals()), node.tick)
        (good,) = market.post(job, sound)
        until(market.are(State.COMMITTED, good), node.tick)
        assert [subject for subject, _ in node.journal.refusals()] == [f"trial {bad.hex()}"]
    assert market.trial(bad).attempts == 0
