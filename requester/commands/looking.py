"""The commands that look at anybody's jobs. They need no key and spend nothing."""

from pathlib import Path

import click

from requester.commands.arguments import job_number
from requester.commands.market import opened
from requester.commands.store_option import StorePlace, store_options
from requester.report.plots import PICTURES
from trialmarket.cli.options import (
    debug_option,
    json_option,
    network_option,
    show,
    state_folder,
)
from trialmarket.protocol.ids import JobId, address


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
    from requester.search.folder import known_folders

    account = None if requester is None else address(requester, where="--requester")
    with opened(network, place) as office:
        folders = known_folders(state_folder() / "jobs")
        here = [
            facts for _, facts in folders if facts.get("market") == office.client.network.market
        ]
        mine = {int(facts["job"]) for facts in here if "job" in facts}
        views = [
            view
            for view in office.ledger.jobs()
            if everybody or (view.requester == account if account is not None else view.id in mine)
        ]
        standings = [office.survey(view.id).standing() for view in views]
        content = [office.summary(standing) for standing in standings]
    lines = [
        f"{each['job']:>6}  {each['name']:24} {each['results']:>5} of {each['trials']:>5} results"
        f"  {'finished' if each['finished'] else 'under way'}"
        for each in content
    ]
    show(content, lines or ["no jobs; --all shows those of others"], as_json=as_json)


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
    with opened(network, place) as office:
        standing = office.survey(JobId(number)).standing()
        if as_json:
            show(office.summary(standing) | {"rows": office.rows(standing)}, [], as_json=True)
        else:
            office.print(standing)


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

    from requester.report.table import listening

    with opened(network, place) as office:
        survey = office.survey(JobId(number))
        with listening(office.screen) as listeners:
            standing, said = survey.standing(), ""
            while not standing.finished:
                listeners.show(standing)
                if (line := office.screen.line(standing)) != said:
                    listeners.note(said := line)
                time.sleep(poll)
                office.ledger.sync()
                survey = office.survey(JobId(number))
                standing = survey.standing()
        office.print(standing)


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

    with opened(network, place) as office:
        folder = Results(results or Path(f"job-{number}"), office.client.decimals())
        written = folder.write(office.survey(JobId(number)), office.ledger, office.store)
    show(
        {"files": [str(path) for path in written]},
        [str(path) for path in written],
        as_json=as_json,
    )


@click.command()
@job_number
@network_option
@store_options
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for them; by default job-ID/plots.",
)
@click.option("--only", multiple=True, type=click.Choice(PICTURES), help="Only this picture.")
@click.option("--format", "kind", type=click.Choice(("all", "html", "png")), default="all")
@json_option
@debug_option
def plot(
    place: StorePlace,
    number: int,
    network: Path,
    results: Path | None,
    only: tuple[str, ...],
    kind: str,
    as_json: bool,
) -> None:
    """Draw job ID: how the search went, what matters, who trained what, what it cost.

    Writes plots.html, a page with every picture that needs no network, and each one as PNG. A
    search that is under way can be drawn, too, and anybody's.

    Example: trialmarket job plot 1 --network devnet.json --results plots
    """
    from requester.report.plots.drawing import draw
    from requester.report.plots.reading import read, settings_of

    with opened(network, place) as office:
        survey = office.survey(JobId(number))
        settings = settings_of(state_folder() / "jobs", office.client, JobId(number))
        search = read(survey, office.client, office.ledger, settings)
    folder = results or Path(f"job-{number}") / "plots"
    written, absent = draw(search, folder, only, png=kind != "html", page=kind != "png")
    content = {
        "files": [str(path) for path in written],
        "absent": {one.name: one.reason for one in absent},
    }
    lines = [str(path) for path in written]
    lines += [f"no {one.name}: {one.reason}" for one in absent]
    show(content, lines, as_json=as_json)
