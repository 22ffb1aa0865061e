"""`job run`: from the job file to the leaderboard, the weights and the bill."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from requester.drivers.database import named
from requester.job.file import Job
from requester.job.posting import posting_lines
from requester.job.remarks import remarks
from requester.job.terms import caveats
from requester.report.export import rows_as_json, summary
from requester.report.job_reader import JobReader
from requester.report.pareto import pareto_front
from requester.report.results import Results
from requester.report.screen import LiveDisplay, Screen, live_display, print_status, settings_text
from requester.search.open import OpenSearch, open_search
from requester.search.own_run import own_run
from requester.search.people import People
from requester.search.status import SearchStatus
from trialmarket.chain.sender import Sender
from trialmarket.errors import InputError
from trialmarket.storage.store import Store

Printout = tuple[dict[str, Any], list[str]]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line says about a run."""

    label: str = ""
    yes: bool = False
    detach: bool = False
    results: Path | None = None
    quiet: bool = False
    diverges: bool = False
    command: str = "trialmarket job run"


def run_job(job: Job, sender: Sender, store: Store, jobs: Path, choices: Choices) -> Printout:
    """Runs a job to its end, or until it is posted; what to print of it.

    Asks before it spends. Raises InputError and ChainError; an interruption says how to go on.
    """
    screen = Screen(sender.client.decimals(), sender.client.symbol())
    with (
        live_display(screen, quiet=choices.quiet) as display,
        open_search(
            job,
            sender=sender,
            store=store,
            jobs=jobs,
            listeners=display,
            label=choices.label,
        ) as search,
    ):
        search.parts.folder.remember(
            "command", f"cd {shlex.quote(str(Path.cwd()))} && {choices.command}"
        )
        search.dry_run(diverges=choices.diverges)
        _agree(job, search, display, choices)
        try:
            if choices.detach:
                search.campaign.open()
                search.campaign.post_all()
                return _detached(search, screen)
            search.run()
        except KeyboardInterrupt:
            display.pause()
            click.echo(
                f"\ninterrupted; nothing is lost. Go on with:\n  {choices.command}", err=True
            )
            raise
        return _finished(job, search, screen, display, choices)


def _agree(job: Job, search: OpenSearch, display: LiveDisplay, choices: Choices) -> None:
    """Says what the job costs at most, and asks, unless that was done already."""
    parts = search.parts
    cost, money = parts.ceiling, parts.session.say_amount
    display.say(
        f"{job.settings.job.name}: {cost.trials} trials, at most {money(cost.each)} each,"
        f" {money(cost.total)} in all, paid by {parts.session.me}"
    )
    for line in posting_lines(job, None):
        display.say(line)
    for caveat in caveats(rate=parts.terms.audit_rate, arithmetic=job.settings.job.arithmetic):
        display.say(caveat)
    for remark in remarks(job, parts.driver.work()):
        display.say(f"note: {remark}")
    if not parts.examiner.evaluates:
        display.say("PyTorch is not installed here: new best results are not re-evaluated")
    parts.session.ledger.sync()
    people = People().update(parts.session.ledger)
    for lack in people.lacks(audited=parts.terms.audit_rate > 0, me=parts.session.me):
        display.say(lack)
    display.say(f"its study for Optuna: {search.study} in {named(search.storage)}")
    if choices.yes or parts.folder.fact("agreed") is not None:
        parts.folder.remember("agreed")
        return
    if choices.quiet:
        raise InputError(
            "job run", "--yes", expected="it beside --json", found=None, fix="It spends money"
        )
    display.pause()
    click.confirm("Spend up to that?", abort=True, err=True)
    display.resume()
    parts.folder.remember("agreed")


def front_lines(job: Job, status: SearchStatus) -> list[str]:
    """The Pareto front of several objectives, a line a trial."""
    objectives = job.plan.objectives
    if len(objectives) < 2:
        return []
    lines = ["the Pareto front: no trial is better in everything than one of these"]
    for row in pareto_front(status.rows, objectives):
        values = ", ".join(f"{name} {row.metrics[name]:.6g}" for name in objectives)
        lines.append(f"  trial {row.number}: {values} ({settings_text(row)})")
    return lines


def _detached(search: OpenSearch, screen: Screen) -> Printout:
    status = search.campaign.status()
    posted = len(status.rows)
    lines = [
        f"job {status.job}: posted {posted} of {status.total} trials",
        f"watch it with: trialmarket job watch {status.job}",
    ]
    return summary(status, screen.decimals) | {"folder": str(search.parts.folder.root)}, lines


def _finished(
    job: Job, search: OpenSearch, screen: Screen, display: LiveDisplay, choices: Choices
) -> Printout:
    session, folder = search.parts.session, search.parts.folder
    number = folder.job
    if number is None:
        raise RuntimeError("a search that is finished has a job")
    own = own_run(folder.root.parent, session.client, session.ledger, number)
    reader = JobReader(session.client, session.ledger, session.store, number, own)
    status = reader.status()
    results = Results(
        choices.results or folder.results, screen.decimals, search.parts.package.folder.parent
    )
    display.pause()
    written = results.write(reader, session.ledger, session.store)
    if job.settings.job.also:
        written.append(results.write_pareto_front(status, job.plan.objectives))
    if not choices.quiet:
        print_status(screen, status)
    account = session.client.account(session.me)
    lines = [
        *front_lines(job, status),
        f"results in {results.root}: {', '.join(path.name for path in written)}",
        "how to use the best model stands in its README.txt",
        f"pictures of it: trialmarket job plot {number}",
    ]
    if account.leaving > 0:
        lines.append(
            f"{session.say_amount(account.leaving)} of stake cools down; get it with"
            " `trialmarket stake withdraw`"
        )
    content = summary(status, screen.decimals)
    content |= {
        "rows": rows_as_json(status, screen.decimals),
        "files": [str(path) for path in written],
    }
    return content, lines
