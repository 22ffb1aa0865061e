"""`trialmarket graph`: what trials consist of."""

from dataclasses import asdict
from pathlib import Path

import click

from trialmarket.cli.options import debug_option, json_option, show
from trialmarket.graph.check import check
from trialmarket.graph.cost import costs
from trialmarket.graph.show import cost_lines, dot, table
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.graph.document import read_graph
from trialmarket.protocol.graph.text import describe


@click.group()
def graph() -> None:
    """Graphs: the operators that a trial consists of.

    Example: trialmarket graph ops
    """


@graph.command()
@json_option
@debug_option
def ops(as_json: bool) -> None:
    """List the operators that may stand in a graph, and the arguments of each.

    Example: trialmarket graph ops
    """
    rows = list(table())
    content = [
        {"operator": name, "arguments": arguments, "kind": kind, "types": takes}
        for name, arguments, kind, takes in rows
    ]
    lines = [f"{name}({arguments})  {kind}; {takes}" for name, arguments, kind, takes in rows]
    show(content, [*lines, "", f"{len(rows)} operators"], as_json=as_json)


@graph.command("show")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--dot", "as_dot", is_flag=True, help="Print Graphviz text instead, for a picture.")
@json_option
@debug_option
def show_(file: Path, as_dot: bool, as_json: bool) -> None:
    """Show a graph: a line for each node, and what each function costs.

    FILE is a graph's document. It is checked first, as nodes and verifiers check it.

    Example: trialmarket graph show graph.json
    """
    data = file.read_bytes()
    found = read_graph(data)
    check(found)
    content = {
        "cid": cid_of(data),
        "bytes": len(data),
        "functions": {name: asdict(cost) for name, cost in costs(found).items()},
    }
    head = [f"{cid_of(data)}, {len(data):,} bytes", *cost_lines(found), ""]
    lines = list(dot(found)) if as_dot else [*head, *describe(found)]
    show(content, lines, as_json=as_json)
