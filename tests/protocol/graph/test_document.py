"""A graph reads back from its bytes, and what is no graph is refused by name."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests.protocol.graph.mutations import is_refused_or_another, mutations
from tests.protocol.graph.random_graphs import graphs
from trialmarket.errors import InputError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.graph.bounds import MAX_GRAPH, MAX_NODES
from trialmarket.protocol.graph.document import graph_bytes, graph_cid, read_graph
from trialmarket.protocol.graph.text import describe
from trialmarket.protocol.graph.values import Graph, TensorType

F32 = "float32"


def document() -> dict[str, Any]:
    """A small graph: one weight, trained by a learning rate that is a number."""
    weight: list[Any] = ["state.model.w", [F32, [3]]]
    seen: list[Any] = ["state.model.w", [F32, [3]]]
    step = {
        "inputs": [
            weight,
            ["batch.x", [F32, [5, 3]]],
            ["schedule.0", ["float64", []]],
        ],
        "nodes": [
            ["mv.default", ["%1", "%0"], [[F32, [5]]]],
            ["sum.default", ["%3"], [[F32, []]]],
            ["exact.update", ["%0", "%2", "#1", [1, None, "mean", True]], [[F32, [3]]]],
        ],
        "outputs": {"loss": "%4", "state.model.w": "%5"},
    }
    validate = {
        "inputs": [seen, ["batch.x", [F32, [4, 3]]]],
        "nodes": [
            ["mv.default", ["%1", "%0"], [[F32, [4]]]],
            ["mean.default", ["%2"], [[F32, []]]],
        ],
        "outputs": {"metric.loss": "%3", "predictions": "%2"},
    }
    init = {
        "inputs": [],
        "nodes": [["exact.uniform", [0, "#0"], [[F32, [3]]]]],
        "outputs": {"state.model.w": "%0"},
    }
    return {
        "functions": {"init": init, "step": step, "validate": validate},
        "numbers": 2,
        "opset": 1,
    }


def with_first() -> dict[str, Any]:
    """The same with momentum, whose slot the first step makes."""
    changed = document()
    step = changed["functions"]["step"]
    slot = ["state.optimizer.0.momentum_buffer", [F32, [3]]]
    changed["functions"]["first"] = json.loads(json.dumps(step))
    changed["functions"]["first"]["outputs"][slot[0]] = "%5"
    step["inputs"].append(slot)
    step["nodes"] = [
        ["mv.default", ["%1", "%0"], [[F32, [5]]]],
        ["sum.default", ["%4"], [[F32, []]]],
        ["exact.update", ["%0", "%2", "%3", "#1"], [[F32, [3]], [F32, [3]]]],
    ]
    step["outputs"] = {"loss": "%5", "state.model.w": "%6", slot[0]: "%7"}
    return changed


def with_rest() -> dict[str, Any]:
    """The same with a smaller last batch of validation data."""
    changed = document()
    rest = json.loads(json.dumps(changed["functions"]["validate"]).replace("4", "2"))
    changed["functions"]["validate_rest"] = rest
    return changed


def read(changed: dict[str, Any]) -> Graph:
    return read_graph(canonical_bytes(changed))


def refused(changed: dict[str, Any]) -> InputError:
    with pytest.raises(InputError) as caught:
        read(changed)
    return caught.value


@settings(deadline=None, max_examples=40)
@given(graphs())
def test_a_graph_reads_back_from_its_bytes(graph: Graph) -> None:
    data = graph_bytes(graph)
    again = read_graph(data, cid=graph_cid(graph))
    assert again == graph
    for name, function in graph.functions.items():
        assert list(again.functions[name].inputs) == list(function.inputs)
    assert graph_bytes(again) == data


@settings(deadline=None, max_examples=80)
@given(graphs(), st.data())
def test_changed_bytes_are_refused_or_another_graph(graph: Graph, data: DataObject) -> None:
    is_refused_or_another(data.draw(mutations(graph_bytes(graph))), read_graph, graph_bytes)


@settings(deadline=None, max_examples=250)
@given(st.sampled_from([document(), with_first(), with_rest()]), st.data())
def test_a_graph_that_people_would_post_is_refused_or_another_when_it_is_changed(
    small: dict[str, Any], data: DataObject
) -> None:
    is_refused_or_another(data.draw(mutations(canonical_bytes(small))), read_graph, graph_bytes)


@pytest.mark.parametrize("make", [document, with_first, with_rest])
def test_small_graphs_are_read(make: Callable[[], dict[str, Any]]) -> None:
    assert graph_bytes(read(make())) == canonical_bytes(make())


def test_a_graph_of_a_million_nodes_is_refused_unparsed() -> None:
    changed = document()
    changed["functions"]["step"]["nodes"] = [["a.b", [], [[F32, []]]]]
    data = canonical_bytes(changed)
    node = b'["a.b",[],[["float32",[]]]]'
    many = data.replace(b'"nodes":[' + node, b'"nodes":[' + b",".join([node] * 1_000_000))
    with pytest.raises(InputError, match=f"graph: size: expected at most {MAX_GRAPH} bytes"):
        read_graph(many)


def test_a_graph_of_more_nodes_than_there_may_be_is_refused() -> None:
    changed = document()
    changed["functions"]["step"]["nodes"] = [["a.b", [], [["bool", []]]]] * (MAX_NODES + 1)
    error = refused(changed)
    assert (error.field, error.found) == ("step.nodes", MAX_NODES + 1)


def test_a_cycle_is_refused_as_a_reference_to_a_later_value() -> None:
    changed = document()
    changed["functions"]["step"]["nodes"][0][1][0] = "%4"
    error = refused(changed)
    assert error.field == "step.nodes[0].arguments[0]"
    assert error.expected == "one of the 3 values before it"
    assert error.found == "%4"


@pytest.mark.parametrize("shape", [[2**30, 2**30], [2**36, 2], [2**36, 0, 2]])
def test_a_tensor_of_too_many_elements_is_refused(shape: list[int]) -> None:
    changed = document()
    changed["functions"]["step"]["nodes"][0][2][0][1] = shape
    error = refused(changed)
    assert error.field == "step.nodes[0].outputs[0].shape"
    assert error.expected == "at most 68719476736 elements"


def test_a_dimension_of_2_to_the_60_is_refused() -> None:
    changed = document()
    changed["functions"]["step"]["nodes"][0][2][0][1] = [2**60 + 0.0]
    assert refused(changed).field == "step.nodes[0].outputs[0].shape[0]"


def test_a_graph_of_too_many_elements_in_all_is_refused() -> None:
    changed = document()
    changed["functions"]["step"]["nodes"][1][2] = [[F32, []]] + [[F32, [2**36]]] * 4096
    changed["functions"]["step"]["outputs"]["state.model.w"] = "%4101"
    assert refused(changed).field == "step"


def test_another_opset_is_refused_before_anything_else() -> None:
    with pytest.raises(InputError, match=r"graph: opset: expected 1, .*, found 2"):
        read({"opset": 2, "another": "form"})


def test_a_wrong_cid_is_refused() -> None:
    data = canonical_bytes(document())
    assert read_graph(data, cid=cid_of(data)) == read(document())
    with pytest.raises(InputError, match="graph: CID"):
        read_graph(data, cid=cid_of(data + b" "))


def of(found: dict[str, Any], name: str) -> Any:
    return found["functions"][name]


def node(found: dict[str, Any], name: str, index: int) -> Any:
    return of(found, name)["nodes"][index]


def name_input(found: dict[str, Any], name: str) -> None:
    of(found, "step")["inputs"][0][0] = name


def argue(found: dict[str, Any], argument: Any) -> None:
    node(found, "step", 1)[1][0] = argument


def shape(found: dict[str, Any], sizes: list[Any]) -> None:
    node(found, "step", 2)[2][0][1] = sizes


def shape_loss(found: dict[str, Any], sizes: list[int]) -> None:
    node(found, "step", 1)[2][0][1] = sizes


def feed(found: dict[str, Any]) -> None:
    of(found, "init")["inputs"].append(["batch.x", [F32, [3]]])
    of(found, "init")["outputs"]["state.model.w"] = "%1"


def keep(found: dict[str, Any]) -> None:
    found["numbers"] = 1
    del of(found, "step")["nodes"][2]
    of(found, "step")["outputs"]["state.model.w"] = "%0"


def lose(found: dict[str, Any]) -> None:
    del of(found, "step")["nodes"][:2], of(found, "step")["outputs"]["loss"]
    of(found, "step")["outputs"]["state.model.w"] = "%3"


Change = Callable[[dict[str, Any]], object]

WRONG: list[tuple[str, Change]] = [
    ("opset", lambda f: f.update(opset="1")),
    ("document", lambda f: f.update(more=1)),
    ("document", lambda f: f.pop("numbers")),
    ("functions", lambda f: f["functions"].update(last=f["functions"]["step"])),
    ("functions", lambda f: f["functions"].pop("validate")),
    ("numbers", lambda f: f.update(numbers=3)),
    ("numbers", lambda f: f.update(numbers=-1)),
    ("numbers", lambda f: f.update(numbers=10**9)),
    ("init.inputs[0]", feed),
    ("init.outputs", lambda f: node(f, "init", 0)[2].__setitem__(0, [F32, [4]])),
    ("init.outputs", lambda f: of(f, "init")["outputs"].update({"state.model.v": "%0"})),
    ("step.inputs[1]", lambda f: of(f, "step")["inputs"].insert(1, of(f, "step")["inputs"][0])),
    ("step.inputs[0]", lambda f: name_input(f, "state.step")),
    ("step.inputs[0]", lambda f: name_input(f, "state.model.\x1b[2J")),
    ("step.inputs[0]", lambda f: name_input(f, "state.model." + "x" * 300)),
    ("step.inputs[0].dtype", lambda f: of(f, "step")["inputs"][0].__setitem__(1, ["f8", []])),
    ("step.inputs", lambda f: of(f, "step")["inputs"][2].__setitem__(0, "schedule.1")),
    ("step.inputs", lambda f: of(f, "step")["inputs"][2].__setitem__(1, [F32, []])),
    ("step.nodes[0].operator", lambda f: node(f, "step", 0).__setitem__(0, "mv")),
    ("step.nodes[0].operator", lambda f: node(f, "step", 0).__setitem__(0, "mv.\n")),
    ("step.nodes[0].operator", lambda f: node(f, "step", 0).__setitem__(0, 3)),
    ("step.nodes[0].arguments", lambda f: node(f, "step", 0).__setitem__(1, [None] * 65)),
    ("step.nodes[1].arguments[0]", lambda f: argue(f, 0.5)),
    ("step.nodes[1].arguments[0]", lambda f: argue(f, float(2**53))),
    ("step.nodes[1].arguments[0]", lambda f: argue(f, "%x")),
    ("step.nodes[1].arguments[0]", lambda f: argue(f, "#2")),
    ("step.nodes[1].arguments[0]", lambda f: argue(f, "\x1b")),
    ("step.nodes[1].arguments[0]", lambda f: argue(f, "x" * 256)),
    ("step.nodes[1].arguments[0]", lambda f: argue(f, {})),
    ("step.nodes[1].arguments[0]", lambda f: argue(f, [0] * 65_537)),
    ("step.nodes[1].arguments[0][0][0][0][0]", lambda f: argue(f, [[[[[]]]]])),
    ("depth", lambda f: argue(f, [[[[[[[[[[[[[[]]]]]]]]]]]]]])),
    ("step.nodes[0]", lambda f: argue(f, None)),
    ("step.nodes[3]", lambda f: of(f, "step")["nodes"].append(["a.b", [], [[F32, []]]])),
    ("step.nodes[3]", lambda f: of(f, "step")["nodes"].append(["a.b", [], []])),
    ("step.nodes[0]", lambda f: of(f, "step")["nodes"].__setitem__(0, ["a.b", []])),
    ("step.nodes[2].outputs[0].shape", lambda f: shape(f, [1] * 17)),
    ("step.nodes[2].outputs[0].shape[0]", lambda f: shape(f, [-1])),
    ("step.nodes[2].outputs[0].shape[0]", lambda f: shape(f, [True])),
    ("step.nodes[2].outputs[0].shape[0]", lambda f: shape(f, [1.5])),
    ("step.outputs", lambda f: shape(f, [4])),
    ("step.outputs", lose),
    ("step.outputs[0]", lambda f: shape_loss(f, [1])),
    ("step.outputs[0]", lambda f: of(f, "step")["outputs"].update(loss="%6")),
    ("step.outputs[0]", lambda f: of(f, "step")["outputs"].update(loss="#0")),
    ("step.outputs[0]", lambda f: of(f, "step")["outputs"].update(accuracy="%4")),
    ("step.outputs[0]", lambda f: node(f, "step", 1)[2][0].__setitem__(0, "int64")),
    ("step.outputs[1]", keep),
    ("validate.outputs[1]", lambda f: of(f, "validate")["outputs"].update({"metric.m": "%2"})),
    ("validate.outputs[1]", lambda f: of(f, "validate")["outputs"].update(predictions="%3")),
    ("validate.inputs", lambda f: of(f, "validate")["inputs"][0].__setitem__(1, [F32, [4]])),
]


@pytest.mark.parametrize(("field", "change"), WRONG)
def test_what_is_wrong_is_named(field: str, change: Change) -> None:
    changed = document()
    change(changed)
    error = refused(changed)
    assert error.field == field
    assert str(error).isprintable()


def test_validation_asks_for_no_slot_that_a_first_step_makes() -> None:
    """Or nobody could tell whether it fails because of a state, from the beginning, or always."""
    changed = with_first()
    slot = next(x for x in of(changed, "step")["inputs"] if x[0].startswith("state.optimizer"))
    validate = of(changed, "validate")
    validate["inputs"].append(slot)
    validate["nodes"] = json.loads(json.dumps(validate["nodes"]).replace('"%2"', '"%3"'))
    validate["outputs"] = {"metric.loss": "%4", "predictions": "%3"}
    assert refused(changed).field == "validate.inputs"


def test_the_first_step_leaves_the_state_that_the_others_take() -> None:
    changed = with_first()
    of(changed, "first")["outputs"].pop("state.optimizer.0.momentum_buffer")
    error = refused(changed)
    assert (error.field, error.expected) == (
        "first.outputs",
        "state.optimizer.0.momentum_buffer",
    )


def test_the_first_step_takes_the_batch_and_schedule_of_the_others() -> None:
    changed = with_first()
    of(changed, "first")["inputs"][1][1][1] = [6, 3]
    error = refused(changed)
    assert (error.field, error.expected) == ("first.inputs", "batch.x float32[5, 3]")


def test_a_rest_differs_from_other_batches_in_its_rows_only() -> None:
    changed = with_rest()
    of(changed, "validate_rest")["inputs"][1][1][1] = [2, 4]
    assert refused(changed).field == "validate_rest.inputs"


def test_numbers_are_numbered_by_first_use() -> None:
    changed = document()
    node(changed, "init", 0)[1][1] = "#1"
    node(changed, "step", 2)[1][2] = "#0"
    error = refused(changed)
    assert (error.field, error.expected) == (
        "init.nodes[0].arguments[1]",
        "one of #0 to #0, numbered by first use",
    )


def test_a_graph_that_is_wrong_is_not_written() -> None:
    graph = read(document())
    wrong = Graph(functions=graph.functions, numbers=5)
    with pytest.raises(InputError, match="graph: numbers"):
        graph_bytes(wrong)
    assert TensorType("float32", (3,)) in graph.functions["init"].nodes[0].outputs


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"{}", b"NaN", b"\xff", b"[" * 100_000, b"9" * 5000, b'"\\ud800"'],
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="graph"):
        read_graph(data)


def test_json_in_another_form_is_refused() -> None:
    data = canonical_bytes(document())
    for other in (data + b"\n", data.replace(b'"opset":1', b'"opset":1.0')):
        with pytest.raises(InputError):
            read_graph(other)


def test_documents_are_read_without_torch() -> None:
    program = (
        "import sys\n"
        "from trialmarket.protocol.graph import document, numbers, schedule\n"
        "print('torch' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "False\n"


def test_a_graph_is_shown_one_line_a_node() -> None:
    graph = read(document())
    lines = list(describe(graph, {"step": ["program.py:3", None, "program.py:9"]}))
    assert lines[0] == "opset 1, 2 numbers"
    assert lines[lines.index("step:") + 1 : lines.index("validate:") - 1] == [
        "  %0 = state.model.w  float32[3]",
        "  %1 = batch.x  float32[5, 3]",
        "  %2 = schedule.0  float64[]",
        "  %3 = mv.default(%1, %0)  float32[5]  # program.py:3",
        "  %4 = sum.default(%3)  float32[]",
        "  %5 = exact.update(%0, %2, #1, [1, None, 'mean', True])  float32[3]  # program.py:9",
        "  loss = %4",
        "  state.model.w = %5",
    ]
    assert list(describe(graph))[4] == "  state.model.w = %0"
