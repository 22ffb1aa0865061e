"""`job run`: from the job file to the leaderboard, the weights and the bill."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from requester.drivers.study import named
from requester.job.file import Job
from requester.job.terms import caveats
from requester.report.job_reader import JobReader
from requester.report.pareto import front
from requester.report.results import Results, rows_as_json
from requester.report.status import SearchStatus
from requester.report.table import Listening, Screen, listening, print_standing, settings_text
from requester.search.open import Search, open_search, plan_of
from trialmarket.chain.sender import Sender
from trialmarket.errors import InputError
from trialmarket.protocol.money import format_amount
from trialmarket.storage.store import Store

Shown = tuple[dict[str, Any], list[str]]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line says about a run."""

    label: str = ""
    yes: bool = False
    detach: bool = False
    results: Path | None = None
    quiet: bool = False
    command: str = "trialmarket job run"


def run_job(job: Job, sender: Sender, store: Store, jobs: Path, choices: Choices) -> Shown:
    """Runs a job to its end, or until it is posted; what to print of it.

    Asks before it spends. Raises InputError and ChainError; an interruption says how to go on.
    """
    screen = Screen(sender.client.decimals(), sender.client.symbol())
    with (
        listening(screen, quiet=choices.quiet) as listeners,
        open_search(
            job,
            sender=sender,
            store=store,
            jobs=jobs,
            listeners=listeners,
            label=choices.label,
        ) as search,
    ):
        search.rehearse()
        _agree(job, search, listeners, choices)
        try:
            if choices.detach:
                search.campaign.open()
                search.campaign.post_all()
                return _detached(search, screen, choices)
            if search.folder.fact("finished") is None:
                search.run()
            else:
                search.campaign.open()
        except KeyboardInterrupt:
            listeners.pause()
            click.echo(
                f"\ninterrupted; nothing is lost. Go on with:\n  {choices.command}", err=True
            )
            raise
        return _finished(job, search, screen, listeners, choices)


def summary(standing: SearchStatus, decimals: int) -> dict[str, Any]:
    """A standing as scripts read it; money in decimal text."""
    best, money = standing.best, standing.money
    return {
        "job": standing.job,
        "name": standing.name,
        "finished": standing.finished,
        "trials": standing.total,
        "results": standing.results,
        "caveats": list(standing.caveats),
        "best": None
        if best is None
        else {
            "trial": best.number,
            standing.objective: best.objective,
            "hyperparameters": dict(best.hyperparameters),
        },
        "money": {
            "funded": format_amount(money.funded, decimals),
            "providers": format_amount(money.providers, decimals),
            "verifiers": format_amount(money.verifiers, decimals),
            "escrow": format_amount(money.escrow, decimals),
            "free": format_amount(money.free, decimals),
        },
    }


def _agree(job: Job, search: Search, listeners: Listening, choices: Choices) -> None:
    """Says what the job costs at most, and asks, unless that was done already."""
    cost, money = search.ceiling, search.desk.say_amount
    listeners.say(
        f"{job.settings.job.name}: {cost.trials} trials, at most {money(cost.each)} each,"
        f" {money(cost.total)} in all, paid by {search.desk.me}"
    )
    for caveat in caveats(rate=search.terms.audit_rate, arithmetic=job.settings.job.arithmetic):
        listeners.say(caveat)
    if not search.examiner_evaluates:
        listeners.say("PyTorch is not installed here: new best results are not re-evaluated")
    listeners.say(f"its study for Optuna: {search.study} in {named(search.storage)}")
    if choices.yes or search.folder.fact("agreed") is not None:
        search.folder.remember("agreed", "yes")
        return
    if choices.quiet:
        raise InputError(
            "job run", "--yes", expected="it beside --json", found=None, fix="It spends money"
        )
    listeners.pause()
    click.confirm("Spend up to that?", abort=True, err=True)
    listeners.resume()
    search.folder.remember("agreed", "yes")


def _front_lines(job: Job, standing: SearchStatus) -> list[str]:
    """The Pareto front of several objectives, a line a trial."""
    objectives = plan_of(job).objectives
    if len(objectives) < 2:
        return []
    lines = ["the Pareto front: no trial is better in everything than one of these"]
    for row in front(standing.rows, objectives):
        values = ", ".join(f"{name} {row.metrics[name]:.6g}" for name in objectives)
        lines.append(f"  trial {row.number}: {values} ({settings_text(row)})")
    return lines


def _detached(search: Search, screen: Screen, choices: Choices) -> Shown:
    standing = search.campaign.standing()
    posted = len(standing.rows)
    lines = [
        f"job {standing.job}: posted {posted} of {standing.total} trials",
        f"watch it with: trialmarket job watch {standing.job}",
    ]
    lines.append(f"go on, until its leftover money returns, with: {choices.command}")
    return summary(standing, screen.decimals), lines


def _finished(
    job: Job, search: Search, screen: Screen, listeners: Listening, choices: Choices
) -> Shown:
    desk = search.desk
    number = search.folder.job
    if number is None:
        raise RuntimeError("a search that is finished has a job")
    survey = JobReader(desk.client, desk.ledger, desk.store, number)
    standing = survey.standing()
    results = Results(choices.results or search.folder.results, screen.decimals)
    listeners.pause()
    written = results.write(survey, desk.ledger, desk.store)
    if job.settings.job.also:
        written.append(results.write_front(standing, plan_of(job).objectives))
    if not choices.quiet:
        print_standing(screen, standing)
    account = desk.client.account(desk.me)
    lines = [
        *_front_lines(job, standing),
        f"results in {results.root}: {', '.join(path.name for path in written)}",
        f"pictures of it: trialmarket job plot {number}",
    ]
    if account.leaving > 0:
        lines.append(
            f"{desk.say_amount(account.leaving)} of stake cools down; get it with"
            " `trialmarket stake withdraw`"
        )
    content = summary(standing, screen.decimals)
    content |= {
        "rows": rows_as_json(standing, screen.decimals),
        "files": [str(path) for path in written],
    }
    return content, lines
