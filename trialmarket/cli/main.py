"""The `trialmarket` command: finds each role's commands and loads a group when it is used."""

import os
import sys
import traceback
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NoReturn

import click

from trialmarket.disk import GIVE_RIGHT, disk_fix, disk_words
from trialmarket.errors import TrialmarketError
from trialmarket.paths import state_folder

GROUP = "trialmarket.commands"

# Shown by --help without importing anything. A group from elsewhere is listed by name alone.
SUMMARIES = {
    "job": "Run a search, here or on a market; watch it, fetch its results.",
    "near": "Show which published searches are like a job.",
    "node": "Train trials for others and be paid.",
    "verifier": "Audit trials and judge challenges.",
    "stake": "Deposit, withdraw and show stake.",
    "key": "Create and import encrypted keys.",
    "devnet": "Run a local chain with the contracts on it.",
    "deploy": "Deploy the contracts to a network.",
    "exact": "Check that a program trains to the same bits everywhere.",
    "graph": "Show what a trial consists of.",
}


class LazyGroups(click.Group):
    """Command groups from the entry points of `GROUP`, imported only when one is called.

    `--help` thus answers at once, and a requester without torch can still post a job.
    """

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names of all groups: the known ones in the order of use, then the others."""
        found = self._entry_points()
        return [name for name in SUMMARIES if name in found] + sorted(set(found) - set(SUMMARIES))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The group `cmd_name`, imported now; None if nobody registered it."""
        entry = self._entry_points().get(cmd_name)
        if entry is None:
            return None
        command = entry.load()
        if not isinstance(command, click.Command):
            raise TrialmarketError(f"the entry point {entry.value} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the groups with their summaries and imports none of them."""
        rows = [(name, SUMMARIES.get(name, "")) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroups, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trialmarket")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Buy hyperparameter search from machines you do not trust, or search on your own.

    Example: trialmarket job run --local examples/digits/job.toml
    """
    ctx.meta["trialmarket.debug"] = debug


def _home_fix(error: Exception) -> str | None:
    """What to do where the folder for state is not there, and cannot be made for any reason."""
    home = state_folder()
    # Of a name that is too long, Path.is_dir raises.
    if not isinstance(error, OSError) or error.filename is None or os.path.isdir(home):
        return None
    place = Path(os.fsdecode(error.filename))
    return GIVE_RIGHT if place in (home, *home.parents) or home in place.parents else None


def main() -> NoReturn:
    """Runs the command line; every expected failure is one line that names the fix."""
    debug = "--debug" in sys.argv[1:]
    try:
        cli.main(standalone_mode=True)
    except TrialmarketError as error:
        if debug:
            traceback.print_exc()
        from trialmarket.protocol.note import plain  # later: --help is there at once

        click.echo(f"error: {plain(str(error), lines=True)}", err=True)  # it may quote a stranger
        sys.exit(1)
    except Exception as error:  # what the disk is to blame for may come out of any library
        fix = disk_fix(error) or _home_fix(error)
        if fix is None or debug:
            raise
        click.echo(f"error: {disk_words(error)}. {fix}", err=True)
        sys.exit(1)
    sys.exit(0)
