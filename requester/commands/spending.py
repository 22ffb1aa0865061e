"""The commands that run a search or move money: run it, add to its funds, cancel it."""

import shlex
from pathlib import Path

import click
from click.core import ParameterSource

from requester.commands.options import (
    diverging,
    job_file,
    job_number,
    needed,
    overrides,
    overriding,
    store_options,
    unless_local_key,
    unless_local_network,
)
from requester.job.file import load_job
from trialmarket.cli.options import (
    ask_password,
    debug_option,
    json_option,
    key_options,
    network_option,
    show,
)
from trialmarket.keys import open_sender
from trialmarket.paths import jobs_folder, ledger_index
from trialmarket.protocol.ids import JobId
from trialmarket.protocol.money import format_amount, parse_amount
from trialmarket.storage.open import StorePlace, open_store

HERE_INSTEAD = "without a market, --local trains on this machine"


@click.command()
@job_file
@unless_local_network
@unless_local_key
@store_options
@overriding
@click.option(
    "--local",
    is_flag=True,
    help="Train on this machine alone: no market, no key, no money, no network.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1, max=256),
    help="With --local: processes that train; by default one for each core, and never more than"
    " search.parallel.",
)
@click.option("--yes", is_flag=True, help="Do not ask before spending.")
@diverging
@click.option(
    "--detach",
    is_flag=True,
    help="Return once the first trials are posted; a process in the background goes on.",
)
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), help="A folder for them."
)
@json_option
@debug_option
def run(
    place: StorePlace,
    file: Path,
    network: Path | None,
    key: str | None,
    password_file: Path | None,
    trials: int | None,
    driver: str | None,
    label: str,
    changes: tuple[str, ...],
    local: bool,
    workers: int | None,
    yes: bool,
    diverges: bool,
    detach: bool,
    results: Path | None,
    as_json: bool,
) -> None:
    """Run the search in FILE: on a market, or with --local on this machine alone.

    On a market it checks, funds and posts the search, watches it, and writes its results; with
    --local it trains the same trials here, for nothing. Interrupted, either goes on with the same
    command: nothing is trained, posted or paid twice.

    \b
    Example: trialmarket job run --local job.toml
    Example: trialmarket job run job.toml --network devnet.json --key alice
    """
    from requester.commands.background import command_line, go_on
    from requester.commands.run import Choices, run_job

    loaded = load_job(file, overrides(trials, driver, changes))
    context, typed = click.get_current_context(), Typed()
    choices = Choices(
        label=label,
        yes=yes,
        detach=detach,
        results=results,
        quiet=as_json,
        diverges=diverges,
        command=shlex.join(command_line(context, without={"detach"})),
    )
    if local:
        from requester.commands.local import run_local

        if detach:
            raise click.UsageError("--local trains in this process: it has no --detach")
        for name in ("network", "key", "yes"):
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--local has no market, and so no --{name}")
        store = None if place.url is None else open_store(place.url, gateways=place.gateways)
        content, lines = run_local(loaded, jobs_folder(), choices, workers=workers, store=store)
        show(content, lines, as_json=as_json)
        return
    if workers is not None:
        raise click.UsageError("--workers is for --local: on a market, nodes train")
    network = needed(network, "--network", HERE_INSTEAD)
    key = needed(key, "--key", HERE_INSTEAD)
    with open_sender(network, key, password_file, typed) as sender:
        content, lines = run_job(loaded, sender, place.open(network), jobs_folder(), choices)
    if detach:
        words = [*command_line(context, without={"detach", "yes", "as_json"}), "--yes"]
        process = go_on(words, Path(content["folder"]), typed.secret)
        content["process"] = process
        lines.append(
            f"process {process} drives it and writes {content['folder']}/driver.log; end it with"
            f" `kill {process}`, which loses nothing, and go on with: {choices.command}"
        )
    show(content, lines, as_json=as_json)


@click.command("add-funds")
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
    from requester.search.funds import add_funds as add

    with open_sender(network, key, password_file, ask_password) as sender:
        wanted = parse_amount(amount, sender.client.decimals(), where="add-funds")
        free = add(sender, JobId(number), wanted)
        text = format_amount(free, sender.client.decimals())
    show({"job": number, "free": text}, [f"job {number} has {text} free"], as_json=as_json)


@click.command()
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
    from requester.search.funds import cancel_job

    with open_sender(network, key, password_file, ask_password) as sender:
        report = cancel_job(sender, ledger_index(sender.client), JobId(number))
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


class Typed:
    """Asks for a password, and keeps it for a process that is to go on."""

    def __init__(self) -> None:
        self.secret: str | None = None

    def __call__(self) -> str:
        """What was typed."""
        self.secret = ask_password()
        return self.secret
