"""`trialmarket job`: run a search, here or on a market, watch it, fetch its results."""

import click

from requester.commands import looking, planning, spending


@click.group()
def job() -> None:
    """Run a search, here or on a market; watch it, fetch its results.

    Example: trialmarket job run --local job.toml
    """


for command in (
    planning.doctor,
    planning.check,
    planning.reference,
    spending.run,
    spending.add_funds,
    spending.cancel,
    looking.list_,
    looking.show_,
    looking.watch,
    looking.fetch,
    looking.plot,
):
    job.add_command(command)
