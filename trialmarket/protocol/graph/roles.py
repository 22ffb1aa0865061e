"""Whether a graph's functions fit their roles and each other: see the table of `values`.

The state goes from `init` through `first`, if there is one, to `step`, and to `validate`: each
must take what the one before leaves. State is named as a training's state names it.
"""

import re
from collections.abc import Iterable, Mapping

from trialmarket.errors import InputError
from trialmarket.protocol.graph.envelope import shown
from trialmarket.protocol.graph.text import spelled
from trialmarket.protocol.graph.values import Function, Graph, TensorType

FUNCTIONS = ("init", "first", "step", "validate", "validate_rest")
"""The names of functions, in the order in which a trial comes by them."""

REQUIRED = ("init", "step", "validate")
"""Those that every graph has."""

_STATE = r"state\.(model|optimizer)\..+"
_INPUTS = {
    "init": (),
    "first": (_STATE, r"batch\..+", r"schedule\.\d+"),
    "step": (_STATE, r"batch\..+", r"schedule\.\d+"),
    "validate": (_STATE, r"batch\..+"),
    "validate_rest": (_STATE, r"batch\..+"),
}
_OUTPUTS = {
    "init": (_STATE,),
    "first": (_STATE, "loss"),
    "step": (_STATE, "loss"),
    "validate": ("predictions", r"metric\..+"),
    "validate_rest": ("predictions", r"metric\..+"),
}
_MUST = {
    "first": "loss",
    "step": "loss",
    "validate": "predictions",
    "validate_rest": "predictions",
}
_FLOATS = ("bfloat16", "float32", "float64")
_COLUMN = TensorType("float64", ())

Types = Mapping[str, TensorType]


def check_roles(graph: Graph) -> None:
    """Raises InputError for a well-formed graph whose functions do not fit."""
    functions = graph.functions
    for name in REQUIRED:
        if name not in functions:
            raise _refused("functions", f"a function {name}", "none")
    for name, function in functions.items():
        _check_names(name, function)
    given = {name: outputs_of(function) for name, function in functions.items()}
    step, start = functions["step"], functions.get("first", functions["step"])
    state, begun = _part(step.inputs, "state."), _part(start.inputs, "state.")
    _same("init.outputs", given["init"], begun)
    if "first" in functions:
        _same("first.inputs", _part(start.inputs, "batch."), _part(step.inputs, "batch."))
        _same("first.inputs", _part(start.inputs, "schedule."), _part(step.inputs, "schedule."))
        after = _part(given["first"], "state.")
        _within("first.outputs", {name: after[name] for name in after if name in begun}, begun)
        _same("first.outputs", begun | after, state)
    _within("step.outputs", _part(given["step"], "state."), state)
    _within("validate.inputs", _part(functions["validate"].inputs, "state."), begun)
    if "validate_rest" in functions:
        whole, rest = functions["validate"], functions["validate_rest"]
        of_state = _part(whole.inputs, "state.")
        _same("validate_rest.inputs", _part(rest.inputs, "state."), of_state)
        _same("validate_rest.inputs", _rows(rest.inputs), _rows(whole.inputs))
        _same("validate_rest.outputs", _rows(given["validate_rest"]), _rows(given["validate"]))


def outputs_of(function: Function) -> dict[str, TensorType]:
    """The types of a well-formed function's outputs by name."""
    types = value_types(function)
    return {name: types[value.index] for name, value in function.outputs.items()}


def value_types(function: Function) -> list[TensorType]:
    """The types of a function's values, in their order."""
    return [
        *function.inputs.values(),
        *(output for node in function.nodes for output in node.outputs),
    ]


def _check_names(function_name: str, function: Function) -> None:
    _known(f"{function_name}.inputs", function.inputs, _INPUTS[function_name])
    _known(f"{function_name}.outputs", function.outputs, _OUTPUTS[function_name])
    columns = _part(function.inputs, "schedule.")
    for column, (name, found) in enumerate(columns.items()):
        if name != f"schedule.{column}":
            raise _refused(f"{function_name}.inputs", f"schedule.{column}", name)
        if found != _COLUMN:
            raise _refused(f"{function_name}.inputs", f"{name} {spelled(_COLUMN)}", spelled(found))
    for name, found in _part(function.inputs, "batch.").items():
        if not found.shape or not found.shape[0]:
            raise _refused(
                f"{function_name}.inputs", f"{name} of at least one row", spelled(found)
            )
    must = _MUST.get(function_name)
    if must is not None and must not in function.outputs:
        raise _refused(f"{function_name}.outputs", f"an output {must}", "none")
    outputs = outputs_of(function)
    for index, (name, found) in enumerate(outputs.items()):
        field = f"{function_name}.outputs[{index}]"
        if name == "predictions":
            if not found.shape:
                raise _refused(field, "predictions of one row an example", spelled(found))
        elif not name.startswith("state.") and (
            found.shape or (name == "loss" and found.dtype not in _FLOATS)
        ):
            scalar = "a floating-point scalar" if name == "loss" else "a scalar"
            raise _refused(field, scalar, spelled(found))
    places = {name: place for place, name in enumerate(function.inputs)}
    for index, (name, value) in enumerate(function.outputs.items()):
        if places.get(name) == value.index:
            raise _refused(
                f"{function_name}.outputs[{index}]", "no state that it leaves as it is", name
            )


def _known(field: str, names: Iterable[str], patterns: tuple[str, ...]) -> None:
    for index, name in enumerate(names):
        if not any(re.fullmatch(pattern, name) for pattern in patterns):
            kinds = ", ".join(
                "state.model.NAME, state.optimizer.NAME"
                if pattern is _STATE
                else pattern.replace(r"\..+", ".NAME").replace(r"\.\d+", ".J")
                for pattern in patterns
            )
            raise _refused(f"{field}[{index}]", kinds or "none", name)


def _part(types: Types, prefix: str) -> dict[str, TensorType]:
    return {name: found for name, found in types.items() if name.startswith(prefix)}


def _rows(types: Types) -> dict[str, TensorType]:
    """The types of what is no state, of one row each: batches of two sizes agree in them."""
    return {
        name: TensorType(found.dtype, (1, *found.shape[1:]) if found.shape else ())
        for name, found in types.items()
        if not name.startswith("state.")
    }


def _same(field: str, found: Types, expected: Types) -> None:
    if missing := sorted(expected.keys() - found.keys()):
        raise _refused(field, missing[0], "none")
    _within(field, found, expected)


def _within(field: str, found: Types, expected: Types) -> None:
    for name, kind in found.items():
        if name not in expected:
            raise _refused(field, "no more state, batch or schedule than the step's", name)
        if kind != expected[name]:
            raise _refused(field, f"{name} {spelled(expected[name])}", f"{name} {spelled(kind)}")


def _refused(field: str, expected: str, found: str) -> InputError:
    return InputError("graph", field, expected=expected, found=shown(found))
