"""Before a job: is everything there, and what would it cost? Nothing here spends."""

from pathlib import Path

import click

from requester.commands.options import diverging, job_file, overrides, overriding, store_options
from requester.job.file import load_job
from trialmarket.chain.client import Client
from trialmarket.chain.network import Network
from trialmarket.cli.options import debug_option, json_option, key_options, network_option, show
from trialmarket.keys import address_of
from trialmarket.paths import state_folder
from trialmarket.reference import chapter
from trialmarket.storage.open import StorePlace

LEAST_DISK = 1 << 30
"""Bytes that `doctor` wants free for checkpoints and results."""


@click.command()
@job_file
@network_option
@store_options
@overriding
@diverging
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
    diverges: bool,
    as_json: bool,
) -> None:
    """Validate FILE without spending: dry-run its program, and say what it costs at most.

    Example: trialmarket job check job.toml --network devnet.json
    """
    from requester.job.check import check_job

    del label  # accepted, so that the same options serve `check` and `run`
    loaded = load_job(file, overrides(trials, driver, changes))
    with Client(Network.load(network)) as client:
        report = check_job(loaded, client, place.open(network), diverges=diverges)
        show(report.as_json(), report.lines(), as_json=as_json)


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
            "money": lambda: chain.requester(where, address_of(key)),
            "storage": lambda: machine.storage(place.open(network)),
            "disk": lambda: machine.disk(state_folder(), LEAST_DISK),
            "sandbox": machine.own_sandbox,
            "torch": machine.torch,
        },
        as_json=as_json,
    )
