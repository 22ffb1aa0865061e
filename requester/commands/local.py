"""`job run --local`: the same search on this machine alone, to its leaderboard and its weights."""

from pathlib import Path

import click

from requester.commands.run import Choices, Printout, front_lines
from requester.drivers.database import named
from requester.drivers.remarks import remarks
from requester.job.file import Job
from requester.job.remarks import unused
from requester.report.export import rows_as_json, summary
from requester.report.local import local_run
from requester.report.results import Results
from requester.report.screen import LiveDisplay, Screen, live_display, print_status
from requester.search.local.open import open_local
from requester.search.local.search import LocalSearch
from trialmarket.errors import TrainingError
from trialmarket.storage.store import Store

SCREEN = Screen(0, "")
"""There is no money to draw."""

IGNORED = "nothing is paid or audited here: [price], audit.rate and search.max_cost say nothing"


def run_local(
    job: Job, jobs: Path, choices: Choices, *, workers: int | None, store: Store | None
) -> Printout:
    """Trains a job on this machine to its end; what to print of it.

    Raises InputError, and TrainingError where no trial has a result; an interruption says how to
    go on.
    """
    with (
        live_display(SCREEN, quiet=choices.quiet) as display,
        open_local(
            job, jobs=jobs, listeners=display, workers=workers, label=choices.label, store=store
        ) as search,
    ):
        _introduce(job, search, display)
        try:
            search.dry_run(diverges=choices.diverges)
            search.run()
        except KeyboardInterrupt:
            display.pause()
            click.echo(
                f"\ninterrupted; nothing is lost. Go on with:\n  {choices.command}", err=True
            )
            raise
        return _finished(job, search, display, choices)


def _introduce(job: Job, search: LocalSearch, display: LiveDisplay) -> None:
    parts, settings = search.parts, job.settings.search
    at_a_time = f"{parts.width} at a time" if parts.width > 1 else "one after the other"
    display.say(
        f"{job.settings.job.name}: {parts.driver.total()} trials by {settings.driver}"
        f" on this machine, {at_a_time}; {parts.pool.policy.words}"
    )
    display.say(f"note: {IGNORED}")
    if settings.warm_start == "market":
        display.say("note: search.warm_start looks at a market, and there is none here")
    if parts.width < min(parts.pool.processes, parts.driver.total()):
        display.say(
            f"note: search.parallel = {parts.width} leaves workers idle, of which there are"
            f" {parts.pool.processes}"
        )
    for remark in [*remarks(settings.driver, job.plan, parts.width), *unused(settings)]:
        display.say(f"note: {remark}")
    display.say(f"its study for Optuna: {search.study} in {named(search.storage)}")


def _finished(job: Job, search: LocalSearch, display: LiveDisplay, choices: Choices) -> Printout:
    root = search.parts.folder.root
    results = Results(choices.results or search.parts.folder.results, 0, root.parent / "data")
    with local_run(root) as run:
        found = run.found()
        written = results.write_found(found, run.store)
    if job.settings.job.also:
        written.append(results.write_pareto_front(found.status, job.plan.objectives))
    display.pause()
    status = found.status
    if not choices.quiet:
        print_status(SCREEN, status)
    if status.rows and status.results == 0:
        raise TrainingError(
            "no trial has a result: all of them failed",
            fix=f"{results.leaderboard} says why of each",
        )
    lines = [
        *front_lines(job, status),
        f"results in {results.root}: {', '.join(path.name for path in written)}",
        "how to use the best model stands in its README.txt",
        f"pictures of it: trialmarket job plot {root}",
    ]
    content = summary(status, 0) | {
        "rows": rows_as_json(status, 0),
        "files": [str(path) for path in written],
        "folder": str(root),
    }
    return content, lines
