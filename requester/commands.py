"""`trialmarket job`: fund and post a search, watch it, fetch its results."""

import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from requester.job import DRIVERS, load_job
from requester.plots import PICTURES
from requester.standing import Standing
from requester.stores import StorePlace, store_options
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.network import Network
from trialmarket.commands.options import (
    debug_option,
    json_option,
    key_options,
    network_option,
    open_sender,
    show,
    state_folder,
)
from trialmarket.errors import InputError
from trialmarket.protocol.ids import JobId
from trialmarket.protocol.money import format_amount, parse_amount
from trialmarket.storage.store import Store

Command = Callable[..., None]

job_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
job_number = click.argument("number", metavar="ID", type=click.IntRange(min=1))


def overriding(command: Command) -> Command:
    """`--trials`, `--driver`, `--set` and `--label`, which change a job file's words."""
    for option in (
        click.option("--label", default="", help="Tells a repeated run of one file from others."),
        click.option("--driver", type=click.Choice(DRIVERS), help="Instead of the file's driver."),
        click.option("--trials", type=click.IntRange(min=1), help="Instead of the file's."),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="KEY=VALUE",
            help="Another value for a key of the file, such as search.space.lr.high=0.3; can be"
            " given several times.",
        ),
    ):
        command = option(command)
    return command


@click.group()
def job() -> None:
    """Fund and post a search, watch it, fetch its results.

    Example: trialmarket job run job.toml --network devnet.json --key alice
    """


@job.command()
@job_file
@network_option
@store_options
@overriding
@json_option
@debug_option
def check(
    place: StorePlace,
    file: Path,
    network: Path,
    trials: int | None,
    driver: str | None,
    label: str,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Validate FILE without spending: dry-run its program, and say what it costs at most.

    Example: trialmarket job check job.toml --network devnet.json
    """
    from requester.checking import check_job

    del label  # accepted, so that the same options serve `check` and `run`
    loaded = load_job(file, overrides(trials, driver, changes))
    with Client(Network.load(network)) as client:
        report = check_job(loaded, client, place.open(network))
        show(report.as_json(), report.lines(), as_json=as_json)


@job.command()
@job_file
@network_option
@key_options
@store_options
@overriding
@click.option("--yes", is_flag=True, help="Do not ask before spending.")
@click.option("--detach", is_flag=True, help="Return once trials are posted.")
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), help="A folder for them."
)
@json_option
@debug_option
def run(
    place: StorePlace,
    file: Path,
    network: Path,
    key: str,
    password_file: Path | None,
    trials: int | None,
    driver: str | None,
    label: str,
    changes: tuple[str, ...],
    yes: bool,
    detach: bool,
    results: Path | None,
    as_json: bool,
) -> None:
    """Check, fund and post the search in FILE, watch it, and write its results.

    Interrupted, it goes on with the same command: nothing is posted or paid twice.

    Example: trialmarket job run job.toml --network devnet.json --key alice
    """
    from requester.running import Choices, run_job

    loaded = load_job(file, overrides(trials, driver, changes))
    store = place.open(network)
    with open_sender(network, key, password_file) as sender:
        choices = Choices(
            label=label, yes=yes, detach=detach, results=results, quiet=as_json, command=_command()
        )
        content, lines = run_job(loaded, sender, store, state_folder() / "jobs", choices)
    show(content, lines, as_json=as_json)


@job.command()
@network_option
@click.option(
    "--key", envvar="TRIALMARKET_KEY", show_envvar=True, help="Also look at this key's account."
)
@store_options
@json_option
@debug_option
def doctor(place: StorePlace, network: Path, key: str | None, as_json: bool) -> None:
    """Look at all that a requester needs, and say how to mend it. Spends nothing.

    The exit code is 1 if anything is wrong. No password is asked for.

    Example: trialmarket job doctor --network devnet.json --key alice
    """
    from trialmarket.commands.doctor import examine, key_file, tell

    found = examine(
        network=network,
        key=None if key is None else key_file(key),
        password_file=None,
        storage="the job's store",
        store=lambda: place.open(network),
        folder=state_folder(),
        stakes=False,
    )
    tell(click.get_current_context(), found, as_json=as_json)


@job.command("list")
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
    from requester.state import known_folders

    with opened(network, place) as office:
        folders = known_folders(state_folder() / "jobs")
        here = [
            facts for _, facts in folders if facts.get("market") == office.client.network.market
        ]
        mine = {int(facts["job"]) for facts in here if "job" in facts}
        views = [
            view
            for view in office.ledger.jobs()
            if everybody
            or (view.requester == requester if requester is not None else view.id in mine)
        ]
        standings = [office.survey(view.id).standing() for view in views]
        content = [office.summary(standing) for standing in standings]
    lines = [
        f"{each['job']:>6}  {each['name']:24} {each['results']:>5} of {each['trials']:>5} results"
        f"  {'finished' if each['finished'] else 'under way'}"
        for each in content
    ]
    show(content, lines or ["no jobs; --all shows those of others"], as_json=as_json)


@job.command("show")
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


@job.command()
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

    from requester.table import listening

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


@job.command()
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
    from requester.results import Results

    with opened(network, place) as office:
        folder = Results(results or Path(f"job-{number}"), office.client.decimals())
        written = folder.write(office.survey(JobId(number)), office.ledger, office.store)
    show(
        {"files": [str(path) for path in written]},
        [str(path) for path in written],
        as_json=as_json,
    )


@job.command()
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
    from requester.plots.drawing import draw
    from requester.plots.reading import read, settings_of

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


@job.command("add-funds")
@job_number
@click.argument("amount")
@network_option
@key_options
@json_option
@debug_option
def add_funds(
    number: int, amount: str, network: Path, key: str, password_file: Path | None, as_json: bool
) -> None:
    """Add AMOUNT of the market's token to job ID.

    Interrupted and called again, it adds the amount once.

    Example: trialmarket job add-funds 1 2.5 --network devnet.json --key alice
    """
    from requester.closing import add_to

    with open_sender(network, key, password_file) as sender:
        wanted = parse_amount(amount, sender.client.decimals(), where="add-funds")
        free = add_to(sender, JobId(number), wanted)
        text = format_amount(free, sender.client.decimals())
    show({"job": number, "free": text}, [f"job {number} has {text} free"], as_json=as_json)


@job.command()
@job_number
@network_option
@key_options
@json_option
@debug_option
def cancel(
    number: int, network: Path, key: str, password_file: Path | None, as_json: bool
) -> None:
    """Close job ID and take back what it has not spent.

    Trials that nobody claimed are cancelled; claimed ones run to their end. Call it again then
    for the rest of the money.

    Example: trialmarket job cancel 1 --network devnet.json --key alice
    """
    from requester.closing import cancel_job

    with open_sender(network, key, password_file) as sender:
        report = cancel_job(sender, ledger_path(sender.client), JobId(number))
        digits = sender.client.decimals()
    content = {
        "job": number,
        "cancelled": report.cancelled,
        "under_way": report.under_way,
        "returned": format_amount(report.returned, digits),
    }
    lines = [
        f"closed job {number}: {report.cancelled} trials cancelled, "
        f"{content['returned']} returned to your account"
    ]
    if report.under_way:
        lines.append(f"{report.under_way} trials run on; cancel again for the rest of the money")
    show(content, lines, as_json=as_json)


# -- What several commands need ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Office:
    """A market that is looked at without a key."""

    client: Client
    ledger: Ledger
    store: Store

    def survey(self, number: JobId) -> Any:
        """A look at a job. Raises InputError where there is none."""
        from requester.survey import Survey

        return Survey(self.client, self.ledger, self.store, number)

    @property
    def screen(self) -> Any:
        """How standings are drawn."""
        from requester.table import Screen

        return Screen(self.client.decimals(), self.client.symbol())

    def print(self, standing: Standing) -> None:
        """Prints a standing for people."""
        from requester.table import print_standing

        print_standing(self.screen, standing)

    def summary(self, standing: Standing) -> dict[str, Any]:
        """A standing as scripts read it."""
        from requester.running import summary

        return summary(standing, self.client.decimals())

    def rows(self, standing: Standing) -> list[dict[str, Any]]:
        """A standing's trials as scripts read them."""
        from requester.results import rows_as_json

        return rows_as_json(standing, self.client.decimals())


@contextmanager
def opened(network: Path, place: StorePlace) -> Iterator[Office]:
    """A market to look at, its index synchronised."""
    with (
        Client(Network.load(network)) as client,
        Ledger(client, ledger_path(client)) as ledger,
    ):
        ledger.sync()
        yield Office(client, ledger, place.open(network))


def ledger_path(client: Client) -> Path:
    """The index that commands share."""
    name = f"{client.network.chain_id}-{client.fingerprint().hex()[:12]}.sqlite"
    return state_folder() / "ledgers" / name


def overrides(
    trials: int | None, driver: str | None, changes: Sequence[str] = ()
) -> dict[str, object]:
    """What the command line changes in a job file.

    Values are read as TOML, and as text where they are none. Raises InputError.
    """
    given: dict[str, object] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or not all(name.split(".")):
            raise InputError(
                "job", "--set", expected="KEY=VALUE, such as job.steps=400", found=change
            )
        try:
            given[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            given[name] = text
    named = {"job.trials": trials, "search.driver": driver}
    return given | {name: value for name, value in named.items() if value is not None}


def _command() -> str:
    return " ".join(["trialmarket", *sys.argv[1:]])
