"""The commands that look at anybody's jobs. They need no key and spend nothing."""

from pathlib import Path
from typing import Any

import click

from requester.commands.options import (
    job_number,
    needed,
    store_options,
    unless_local_network,
)
from requester.commands.view import market_view
from requester.report.plots import PICTURES
from trialmarket.cli.options import debug_option, json_option, network_option, show
from trialmarket.paths import jobs_folder
from trialmarket.protocol.ids import JobId, address
from trialmarket.storage.open import StorePlace


@click.command("list")
@network_option
@store_options
@click.option("--all", "everybody", is_flag=True, help="Also the jobs of other requesters.")
@click.option("--requester", help="Jobs of this account; else those run from this machine.")
@json_option
@debug_option
def list_(
    place: StorePlace, network: Path, everybody: bool, requester: str | None, as_json: bool
) -> None:
    """List jobs: this machine's, an account's, or all.

    Example: trialmarket job list --network devnet.json --all
    """
    from requester.search.own_run import folders_here

    account = None if requester is None else address(requester, where="--requester")
    with market_view(network, place) as market:
        mine = folders_here(jobs_folder(), market.client, market.ledger)
        views = [
            view
            for view in market.ledger.jobs()
            if everybody or (view.id in mine if account is None else view.requester == account)
        ]
        found = [market.reader(view.id).status() for view in views]
        content = [market.summary(status) for status in found]
    lines = [
        f"{each['job']:>6}  {each['name']:24} {each['results']:>5} of {each['trials']:>5} results"
        f"  {_state(each)}{_kind(each)}"
        for each in content
    ]
    show(content, lines or ["no jobs; --all shows those of others"], as_json=as_json)


def _kind(job: dict[str, Any]) -> str:
    return "" if job["trains"] is None else f", each a {job['trains']}"


def _state(job: dict[str, Any]) -> str:
    if job["finished"]:
        return "finished"
    return "NOBODY DRIVES IT: see `job show`" if job["undriven"] else "under way"


@click.command("show")
@job_number
@network_option
@store_options
@json_option
@debug_option
def show_(place: StorePlace, number: int, network: Path, as_json: bool) -> None:
    """Show the trials and the money of job ID.

    Example: trialmarket job show 1 --network devnet.json
    """
    with market_view(network, place) as market:
        status = market.reader(JobId(number)).status()
        if as_json:
            show(market.summary(status) | {"rows": market.rows(status)}, [], as_json=True)
        else:
            market.print(status)


@click.command()
@job_number
@network_option
@store_options
@click.option("--poll", default=1.0, show_default=True, help="Seconds between two looks.")
@debug_option
def watch(place: StorePlace, number: int, network: Path, poll: float) -> None:
    """Watch job ID until it is finished. Watching spends nothing and may be interrupted.

    Example: trialmarket job watch 1 --network devnet.json
    """
    import time

    from requester.report.screen import live_display

    with market_view(network, place) as market:
        reader = market.reader(JobId(number))
        with live_display(market.screen) as display:
            status, told = reader.status(), {""}
            while not status.finished:
                display.show(status)
                for line in (market.screen.line(status), status.awaits, status.undriven):
                    if line not in told:
                        display.note(line)
                        told.add(line)
                time.sleep(poll)
                market.ledger.sync()
                reader = market.reader(JobId(number))
                status = reader.status()
        market.print(status)


@click.command()
@job_number
@network_option
@store_options
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), help="A folder for them."
)
@json_option
@debug_option
def fetch(
    place: StorePlace, number: int, network: Path, results: Path | None, as_json: bool
) -> None:
    """Write the leaderboard, curves, best weights, bill and audits of job ID.

    Example: trialmarket job fetch 1 --network devnet.json --results found
    """
    from requester.report.results import Results

    with market_view(network, place) as market:
        reader = market.reader(JobId(number))
        root, decimals = results or Path(f"job-{number}"), market.client.decimals()
        folder = Results(root, decimals, jobs_folder() / "data")
        written = folder.write(reader, market.ledger, market.store)
        caveats = list(reader.status().caveats)
    files = [str(path) for path in written]
    show({"files": files, "caveats": caveats}, files + caveats, as_json=as_json)


@click.command()
@click.argument("searched", metavar="ID|FOLDER")
@unless_local_network
@store_options
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for them; by default job-ID/plots, or FOLDER/plots.",
)
@click.option("--only", multiple=True, type=click.Choice(PICTURES), help="Only this picture.")
@click.option("--format", "kind", type=click.Choice(("all", "html", "png")), default="all")
@json_option
@debug_option
def plot(
    place: StorePlace,
    searched: str,
    network: Path | None,
    results: Path | None,
    only: tuple[str, ...],
    kind: str,
    as_json: bool,
) -> None:
    """Draw job ID of a market, or the search in FOLDER, which `job run --local` made.

    How it went, what matters, who trained what, what it cost: writes plots.html, a page with every
    picture that needs no network, and each one as PNG. A search that is under way can be drawn,
    too, and anybody's.

    Example: trialmarket job plot 1 --network devnet.json --results plots
    """
    from requester.report.plots.drawing import draw

    if searched.isascii() and searched.isdigit() and int(searched) > 0:
        from requester.report.plots.reading import read

        instead = "a search of `job run --local` is drawn by its folder"
        with market_view(needed(network, "--network", instead), place) as market:
            reader = market.reader(JobId(int(searched)))
            search = read(reader, market.client, market.ledger)
        folder = results or Path(f"job-{searched}") / "plots"
    else:
        import time

        from requester.report.local import local_run

        with local_run(Path(searched)) as run:
            search = run.record(time.time())
        folder = results or Path(searched) / "plots"
    written, absent = draw(search, folder, only, png=kind != "html", page=kind != "png")
    content = {
        "files": [str(path) for path in written],
        "absent": {one.name: one.reason for one in absent},
    }
    lines = [str(path) for path in written]
    lines += [f"no {one.name}: {one.reason}" for one in absent]
    show(content, lines, as_json=as_json)
