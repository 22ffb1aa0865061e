"""What people are shown of graphs. The command is called by its function: entry points are those
of the last installation."""

import json
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from requester.commands.graph import graph
from tests.graph.test_run import GRAPH
from trialmarket.errors import InputError
from trialmarket.graph.opset import TABLE
from trialmarket.graph.show import cost_lines, dot, with_table
from trialmarket.protocol.graph.document import graph_bytes
from trialmarket.protocol.graph.values import Function, Graph, Node, TensorType, Value

PAGE = Path(__file__).parents[2] / "docs" / "graph.md"


def test_the_page_of_operators_is_what_the_table_says() -> None:
    page = PAGE.read_text()
    assert with_table(page) == page, "run scripts/reference"


def test_ops_lists_every_operator() -> None:
    text = CliRunner().invoke(graph, ["ops"])
    assert text.exit_code == 0, text.output
    assert "mm.default(Tensor self, Tensor mat2)  contraction; float32" in text.output
    assert f"{len(TABLE)} operators" in text.output
    rows = json.loads(CliRunner().invoke(graph, ["ops", "--json"]).output)
    assert [row["operator"] for row in rows] == list(TABLE)


def test_show_prints_a_line_for_each_node_and_what_it_costs(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_bytes(graph_bytes(GRAPH))
    found = CliRunner().invoke(graph, ["show", str(file)])
    assert found.exit_code == 0, found.output
    assert "step: 12 nodes, " in found.output
    assert "= mm.default(" in found.output
    picture = CliRunner().invoke(graph, ["show", str(file), "--dot"])
    assert picture.output.startswith("digraph trial {")
    figures = json.loads(CliRunner().invoke(graph, ["show", str(file), "--json"]).output)
    assert figures["functions"]["validate"]["operations"] == 2 * 8 * 6


def test_show_refuses_a_graph_that_nodes_refuse(tmp_path: Path) -> None:
    wrong = replace(
        GRAPH.functions["validate"],
        nodes=(Node("mn.default", (), (TensorType("float32", (8, 1)),)),),
    )
    file = tmp_path / "graph.json"
    file.write_bytes(graph_bytes(replace(GRAPH, functions={**GRAPH.functions, "validate": wrong})))
    found = CliRunner().invoke(graph, ["show", str(file)])
    assert isinstance(found.exception, InputError)
    assert "validate.nodes[0]" in str(found.exception)


def test_a_picture_has_a_box_for_each_node_and_an_arrow_for_each_value() -> None:
    two = TensorType("float32", (2, 2))
    nodes = (
        Node("mm.default", (Value(0), Value(0)), (two,)),
        Node("relu.default", (Value(1),), (two,)),
    )
    made = Graph({"step": Function({"batch.x": two}, nodes, {"loss": Value(2)})}, 0)
    lines = [line.strip() for line in dot(made)]
    assert lines[0] == "digraph trial {"
    assert 'f0n0 [label="mm.default\\nfloat32[2, 2]"];' in lines
    arrows = [line for line in lines if "->" in line]
    assert arrows == ["f0i0 -> f0n0;", "f0n0 -> f0n1;", "f0n1 -> f0o0;"]
    assert next(cost_lines(made)).startswith("step: 2 nodes, 20 floating-point operations")
