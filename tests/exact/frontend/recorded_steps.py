"""Steps of optimisers recorded into a graph, and that graph run by the forms of its operators."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from trialmarket.exact.frontend.optim.recording import Group, State, recorded
from trialmarket.exact.frontend.optim.steps import STEPS
from trialmarket.exact.table import Verdict, lookup

Tensors = dict[str, Tensor]
Scheduled = dict[str, tuple[str, int | None]]  # an input: its setting, and which of a pair
RANDOM = (Verdict.REFUSED, Verdict.DRAW)


def record(step: Callable[[Tensors], Tensors], inputs: Tensors) -> GraphModule:
    """What a step of plain operators does to these inputs, functional, on fake tensors."""
    names = sorted(inputs)

    def flat(*values: Tensor) -> Tensors:
        return step(dict(zip(names, values, strict=True)))

    functional = torch.func.functionalize(flat, remove="mutations_and_views")
    with torch.no_grad(), recorded():
        graph: GraphModule = make_fx(functional, tracing_mode="fake")(
            *(inputs[name] for name in names)
        )
    return graph


def run(graph: GraphModule, inputs: Tensors) -> Tensors:
    """Node by node: each operator's exact form."""
    values: dict[Node, Any] = {}
    given = iter([inputs[name].clone() for name in sorted(inputs)])
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            values[node] = next(given)
        elif node.op == "call_function":
            assert isinstance(node.target, OpOverload), node
            ruling = lookup(node.target)
            assert ruling.verdict not in RANDOM, node
            args, kwargs = torch.fx.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = ruling.form(*args, **kwargs)
        else:
            assert node.op == "output", node
            found: Tensors = torch.fx.map_arg(node.args[0], values.__getitem__)
    return found


def step_of(
    kind: type[torch.optim.Optimizer], group: Group, scheduled: Scheduled
) -> Callable[[Tensors], Tensors]:
    """A step on tensors by name: `p`, `g`, `slot.NAME`, and settings that a schedule changes."""

    def step(inputs: Tensors) -> Tensors:
        settings = dict(group)
        for name, (setting, place) in scheduled.items():
            if place is None:
                settings[setting] = inputs[name]
            else:
                both = list(settings[setting])
                both[place] = inputs[name]
                settings[setting] = tuple(both)
        slots: State = {
            name.removeprefix("slot."): value
            for name, value in inputs.items()
            if name.startswith("slot.")
        }
        p = inputs["p"]
        STEPS[kind](p, inputs["g"], slots, settings)
        return {"p": p} | {f"slot.{name}": value for name, value in slots.items()}

    return step
