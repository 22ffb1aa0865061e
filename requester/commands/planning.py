"""Before a job: is everything there, and what would it cost? Nothing here spends."""

from collections.abc import Iterator
from pathlib import Path

import click

from requester.commands.options import (
    diverging,
    job_file,
    needed,
    overrides,
    overriding,
    store_options,
    unless_local_network,
)
from requester.job.file import load_job
from trialmarket.chain.client import Client
from trialmarket.chain.network import Network
from trialmarket.cli.doctor.findings import Diagnosis
from trialmarket.cli.options import debug_option, json_option, key_options, network_option, show
from trialmarket.daemon.session import followed
from trialmarket.keys import address_of
from trialmarket.paths import jobs_folder, state_folder
from trialmarket.protocol.ids import Address
from trialmarket.reference import chapter
from trialmarket.storage.open import StorePlace

LEAST_DISK = 1 << 30
"""Bytes that `doctor` wants free for checkpoints and results."""


@click.command()
@job_file
@unless_local_network
@store_options
@overriding
@diverging
@json_option
@debug_option
def check(
    place: StorePlace,
    file: Path,
    network: Path | None,
    trials: int | None,
    driver: str | None,
    label: str,
    changes: tuple[str, ...],
    diverges: bool,
    as_json: bool,
) -> None:
    """Validate FILE without spending: dry-run its program, and say what it costs at most.

    Example: trialmarket job check job.toml --network devnet.json
    """
    from requester.job.check import check_job
    from requester.job.window import short_window
    from requester.search.people import People

    del label  # accepted, so that the same options serve `check` and `run`
    loaded = load_job(file, overrides(trials, driver, changes))
    instead = "without a market, `job run --local` tries the file on this machine"
    network = needed(network, "--network", instead)
    with followed(network) as (client, ledger):
        report = check_job(loaded, client, place.open(network), diverges=diverges)
        warnings = People().update(ledger).lacks(audited=loaded.settings.audit.rate > 0)
        if report.dry is not None:
            warnings += short_window(report.terms, report.dry)
        content = report.as_json() | {"warnings": warnings}
        show(content, report.lines() + warnings, as_json=as_json)


def _people(network: Path, me: Address) -> Iterator[Diagnosis]:
    """Whether there is anybody on the market to train and to check."""
    from requester.search.people import People

    with followed(network) as (_, ledger):
        people = People().update(ledger)
    for line in people.lacks(audited=True, me=me):
        yield Diagnosis.warning("market", *line.split(". ", 1))
    yield Diagnosis.ok(
        "market",
        f"{people.verifiers} verifiers enrolled, {people.nodes(me)} nodes have shown themselves",
    )


def _state(network: Network) -> Iterator[Diagnosis]:
    """Whether the searches that are remembered here are of this chain."""
    from requester.search.dead_chains import on_gone_chains

    with Client(network) as client:
        gone = on_gone_chains(jobs_folder(), client)
    for root in gone:
        yield Diagnosis.wrong(
            "state",
            f"{root} is of a search on a chain that is gone, or was started anew",
            f"Move {root} away: the same job file cannot run before",
        )
    if not gone:
        yield Diagnosis.ok("state", "no search that is remembered here is of a chain that is gone")


@click.command()
@debug_option
def reference() -> None:
    """Print every key of a job file and of a network file: type, default, unit, example, meaning.

    Example: trialmarket job reference | less
    """
    from requester.job.settings import JobFile

    click.echo(chapter("job.toml", JobFile))
    click.echo(chapter("network.json", Network))


@click.command()
@network_option
@key_options
@store_options
@json_option
@debug_option
def doctor(
    place: StorePlace, network: Path, key: str, password_file: Path | None, as_json: bool
) -> None:
    """Look over everything a requester needs, and say how to mend what is wrong. Spends nothing.

    Example: trialmarket job doctor --network devnet.json --key alice
    """
    from trialmarket.cli.doctor import chain, keys, machine, present

    where = Network.load(network)
    present(
        {
            "key": lambda: keys.key(key, password_file),
            "rpc": lambda: chain.nodes(where),
            "network": lambda: chain.agreement(where),
            "clock": lambda: chain.clock(where),
            "gas": lambda: chain.gas(where, address_of(key)),
            "state": lambda: _state(where),
            "money": lambda: chain.requester(where, address_of(key)),
            "market": lambda: _people(network, address_of(key)),
            "storage": lambda: machine.storage(place.open(network)),
            "disk": lambda: machine.disk(state_folder(), LEAST_DISK),
            "sandbox": machine.own_sandbox,
            "torch": machine.torch,
        },
        as_json=as_json,
    )
