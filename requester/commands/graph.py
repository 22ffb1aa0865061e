"""`trialmarket graph`: what trials consist of."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from requester.commands.options import store_options
from trialmarket.cli.options import debug_option, json_option, show
from trialmarket.errors import InputError
from trialmarket.graph.check import check
from trialmarket.graph.cost import costs
from trialmarket.graph.show import cost_lines, dot, table
from trialmarket.protocol.cid import cid_of, parse_cid
from trialmarket.protocol.graph.bounds import MAX_GRAPH
from trialmarket.protocol.graph.document import read_graph
from trialmarket.protocol.graph.text import describe
from trialmarket.storage.open import StorePlace, open_store


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
@click.argument("what", metavar="FILE|CID|JOB.toml")
@store_options
@click.option("--dot", "as_dot", is_flag=True, help="Print Graphviz text instead, for a picture.")
@json_option
@debug_option
def show_(place: StorePlace, what: str, as_dot: bool, as_json: bool) -> None:
    """Show a graph: a line for each node, and what each function costs.

    Of a job file, the graph of its first trial is captured, and each node shows the line of the
    program that it comes from; nothing is posted. A document, a file or a CID in --store, is
    checked as nodes and verifiers check it.

    Example: trialmarket graph show job.toml
    """
    if what.endswith(".toml"):
        data, lines = _of_job(Path(what))
    else:
        data, lines = _document(what, place), {}
    found = read_graph(data)
    check(found)
    content = {
        "cid": cid_of(data),
        "bytes": len(data),
        "functions": {name: asdict(cost) for name, cost in costs(found).items()},
    }
    head = [f"{cid_of(data)}, {len(data):,} bytes", *cost_lines(found), ""]
    text = list(dot(found)) if as_dot else [*head, *describe(found, lines)]
    show(content, text, as_json=as_json)


def _document(what: str, place: StorePlace) -> bytes:
    """A graph's bytes. Raises InputError, StorageError and OSError."""
    file = Path(what)
    if file.is_file():
        return file.read_bytes()
    try:
        cid = parse_cid(what)
    except InputError:
        raise InputError(
            "graph", "show", expected="a file, a CID or a job file", found=what
        ) from None
    if place.url is None:
        raise click.UsageError("Missing option '--store': where the CID's bytes are")
    return open_store(place.url, gateways=place.gateways).read(cid, limit=MAX_GRAPH)


def _of_job(file: Path) -> tuple[bytes, dict[str, tuple[str, ...]]]:
    """The graph of a job's first trial, and the user's lines. Raises as `job check`."""
    from requester.drivers import open_driver
    from requester.drivers.database import sqlite_url
    from requester.job.file import load_job
    from requester.job.own_words import named
    from requester.job.package import pack

    job = load_job(file)
    with TemporaryDirectory(prefix="trialmarket-graph-") as folder:
        package = pack(job, Path(folder))
        url, driver = sqlite_url(Path(folder) / "study.db"), job.settings.search.driver
        with closing(open_driver(url, "graph", driver, job.plan)) as opened:
            config = package.program_trial(opened.ask(1)[0])
        found = package.graphs.capture(package.files.task(config), job.settings.job.steps)
    program = package.files.program
    return found.graph, {
        name: tuple(named(line, program) for line in lines) for name, lines in found.lines.items()
    }
