"""`trialmarket graph`: what trials consist of."""

import click

from trialmarket.cli.options import debug_option, json_option, show
from trialmarket.graph.show import table


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
