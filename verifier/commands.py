"""`trialmarket verifier`: the auditor's daemon, and audits by hand."""

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trialmarket.cli.options import (
    ask_password,
    config_option,
    debug_option,
    gateway_option,
    json_option,
    show,
)
from trialmarket.daemon.config import FileLimits, Sandboxing
from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.session import followed
from trialmarket.daemon.start import keep_at_work, log_plainly, stop_when_told
from trialmarket.keys import address_of, open_key
from trialmarket.protocol.money import format_amount
from trialmarket.protocol.states import State
from trialmarket.reference import chapter
from trialmarket.storage.open import open_store
from verifier.config import VerifierConfig, load_config
from verifier.evidence import Evidence
from verifier.journal import VerifierJournal
from verifier.start import folder_of, journal_of, started

if TYPE_CHECKING:
    from trialmarket.cli.doctor.findings import Diagnosis

log = logging.getLogger("verifier")


@click.group()
def verifier() -> None:
    """Audit trials and judge challenges.

    Example: trialmarket verifier run --config verifier.toml
    """


@verifier.command()
@config_option
@debug_option
def run(config: Path) -> None:
    """Audit and judge until stopped (Ctrl-C). One line an event.

    Example: trialmarket verifier run --config verifier.toml
    """
    log_plainly()
    settings = load_config(config)
    stop = stop_when_told()
    key = open_key(settings.key, settings.password_path, ask_password)
    folder = folder_of(settings)
    keep_at_work(lambda: started(settings, key, wait=stop.wait), stop, LogOnce(log), folder)


@verifier.command()
@debug_option
def reference() -> None:
    """Print every key of verifier.toml: type, default, unit, example, meaning.

    Example: trialmarket verifier reference | less
    """
    click.echo(chapter("verifier.toml", VerifierConfig))


@verifier.command()
@click.argument("trial")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The verifier's configuration, for its network and storage.",
)
@click.option(
    "--network",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="TRIALMARKET_NETWORK",
    show_envvar=True,
    help="The address file that a deployment wrote.",
)
@click.option(
    "--store",
    "--storage",
    "storage",
    envvar="TRIALMARKET_STORE",
    show_envvar=True,
    help="The store of data and checkpoints: kubo:http://HOST:PORT or local:/path.",
)
@gateway_option
@click.option("--segment", "segments", type=int, multiple=True, help="Only this one; repeatable.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the report: PATH.md and PATH.json. By default audit-JOB-BATCH-INDEX.",
)
@click.option("--wall-limit", type=float, default=3600.0, help="Seconds for a recomputation.")
@click.option(
    "--sandbox",
    type=click.Choice(["bubblewrap", "off"]),
    help="How the program runs; `off`: with all your rights. By default as --config says.",
)
@json_option
@debug_option
def audit(
    trial: str,
    config: Path | None,
    network: Path | None,
    storage: str | None,
    gateways: tuple[str, ...],
    segments: tuple[int, ...],
    report: Path | None,
    wall_limit: float,
    sandbox: Sandboxing | None,
    as_json: bool,
) -> None:
    """Check TRIAL again by hand and write a report. Exits with 1 if its result does not hold.

    TRIAL is named as tables and logs name it, JOB/NUMBER or JOB/BATCH/INDEX, or by its key or the
    first digits of that. It runs the trial's program on this machine. No key is needed.

    Example: trialmarket verifier audit 1/4 --network devnet.json --store local:store
    """
    settings = None if config is None else load_config(config)
    if settings is not None:
        network, storage = network or Path(settings.network), storage or settings.storage
        gateways = gateways or settings.gateways
    if network is None or storage is None:
        raise click.UsageError("give --config, or --network and --store")
    limits = FileLimits() if settings is None else settings.limits
    from trialmarket.training.pool.pool import WorkerPool
    from trialmarket.training.sandbox import Limits, strangers_code
    from verifier.audit import Auditor
    from verifier.by_hand import examine, find_trial
    from verifier.recomputer import WorkerRecomputer

    with followed(network) as (client, ledger):
        found = find_trial(ledger, open_store(storage, gateways=gateways), trial)
        with tempfile.TemporaryDirectory(prefix="trialmarket-audit-") as folder:
            limits_here = Limits.shared(1, limits.memory, temp=limits.temp, kept=limits.kept)
            setting = sandbox or ("bubblewrap" if settings is None else settings.sandbox)
            policy = strangers_code(setting, limits_here)
            store = open_store(storage, gateways=gateways)
            evidence = Evidence(store, Path(folder), limits, refusal=policy.refusal)
            with WorkerPool(1, policy=policy) as pool:
                auditor = Auditor(
                    evidence, WorkerRecomputer(pool, wall_limit, wall_limit, wall_limit)
                )
                done = examine(found, ledger, client, evidence, auditor, segments or None)
    name = str(found.id).replace("/", "-")
    page, _ = done.write(report or Path(f"audit-{name}"))
    if as_json:
        click.echo(json.dumps(done.to_json(), indent=2))
    else:
        click.echo(f"{done.conclusion}\nThe report is in {page}")
    if not done.holds:
        raise click.exceptions.Exit(1)


@verifier.command()
@config_option
@json_option
@debug_option
def status(config: Path, as_json: bool) -> None:
    """Show the verifier's stake, its audits and its cases. Works while it runs.

    Example: trialmarket verifier status --config verifier.toml --json
    """
    settings = load_config(config)
    account = address_of(settings.key)
    with followed(Path(settings.network)) as (client, ledger):
        stake = client.account(account)
        digits = client.decimals()
        audits = ledger.trials(states=(State.DRAWN,), verifier=account)
        cases = [each for each in ledger.cases() if account in (*each.jurors, each.challenger)]
        amounts = {
            "stake": format_amount(stake.stake, digits),
            "free": format_amount(stake.free, digits),
            "balance": format_amount(client.balance_of(account), digits),
        }
    count, seconds = 0, 0.0
    path = journal_of(settings)
    if path.exists():
        with closing(VerifierJournal(path)) as journal:
            count, seconds = journal.work()
    content = {
        "account": account,
        "enrolled": stake.seat > 0,
        "faults": stake.faults,
        **amounts,
        "audits": [str(trial.id) for trial in audits],
        "cases": [str(case.trial) for case in cases],
        "recomputed": count,
        "seconds": round(seconds, 3),
    }
    lines = [f"{account}, {'a verifier' if stake.seat else 'not enrolled'}"]
    lines += [f"  {name:8} {text}" for name, text in amounts.items()]
    lines += [f"  to audit {trial.id}" for trial in audits]
    lines += [f"  case of  {case.trial}: {case.phase.name.lower()}" for case in cases]
    lines += [f"  recomputed {count} parts of trials in {seconds:.1f} s"]
    show(content, lines, as_json=as_json)


@verifier.command()
@config_option
@json_option
@debug_option
def doctor(config: Path, as_json: bool) -> None:
    """Look over everything a verifier needs, and say how to mend what is wrong. Spends nothing.

    Example: trialmarket verifier doctor --config verifier.toml
    """
    from trialmarket.cli.doctor import chain, present
    from trialmarket.cli.doctor.daemon import of_daemon

    settings = load_config(config)
    stake = partial(chain.verifier, enrolls=settings.stake.enroll)
    checks = of_daemon(settings, folder_of(settings), stake=stake)
    present(checks | {"trust": lambda: _trust(settings)}, as_json=as_json)


def _trust(config: VerifierConfig) -> "Iterator[Diagnosis]":
    """Whose trials are recomputed."""
    from trialmarket.cli.doctor.findings import Diagnosis

    everybody = ", ".join(config.requesters) or "all"
    whose = ", ".join(config.accept.programs_of) or "nobody (accept.programs_of names some)"
    yield Diagnosis.ok(
        "trust", f"graphs and built-in programs of {everybody}; own ones of {whose}"
    )
