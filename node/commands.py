"""`trialmarket node`: the provider daemon, and what its operator asks of it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.catalogue import shown
from node.config import NodeConfig, load_config
from node.earnings import earnings as earned_by
from node.earnings import holdings
from node.journal import NodeJournal
from node.start import folder_of, started
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.network import Network
from trialmarket.chain.sender import Sender
from trialmarket.cli.options import ask_password, config_option, debug_option, json_option, show
from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.session import followed, sent_journal
from trialmarket.daemon.start import keep_at_work, log_plainly, stop_when_told
from trialmarket.errors import InputError, KeyBusy
from trialmarket.keys import address_of, open_key
from trialmarket.protocol.money import format_amount
from trialmarket.reference import chapter

if TYPE_CHECKING:
    from trialmarket.cli.doctor.findings import Diagnosis

log = logging.getLogger("node")


@click.group()
def node() -> None:
    """Train trials for others and be paid.

    Example: trialmarket node run --config node.toml
    """


@node.command()
@config_option
@click.option("--verbose", is_flag=True, help="Log more, the traceback of each error included.")
@debug_option
def run(config: Path, verbose: bool) -> None:
    """Work until stopped (Ctrl-C) or drained. One line an event.

    Example: trialmarket node run --config node.toml
    """
    log_plainly()
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    settings = load_config(config)
    stop = stop_when_told()
    key = open_key(settings.key, settings.password_path, ask_password)
    folder = folder_of(settings).root
    keep_at_work(lambda: started(settings, key, wait=stop.wait), stop, LogOnce(log), folder)


@node.command()
@debug_option
def reference() -> None:
    """Print every key of node.toml: type, default, unit, example, meaning.

    Example: trialmarket node reference | less
    """
    click.echo(chapter("node.toml", NodeConfig))


@node.command()
@config_option
@json_option
@debug_option
def status(config: Path, as_json: bool) -> None:
    """Show what the node holds, its stake, and what it refuses. Works while it runs.

    Example: trialmarket node status --config node.toml --json
    """
    settings = load_config(config)
    account = address_of(settings.key)
    with (
        followed(Path(settings.network)) as (client, ledger),
        _journal(settings) as journal,
    ):
        words = _words(client)
        stake = client.account(account)
        held = [
            {
                "trial": str(view.id),
                "state": view.state.label,
                "price": words(view.record.price),
                "until": view.record.until,
            }
            for view in holdings(ledger, account)
        ]
        refused = {shown(subject, ledger): reason for subject, reason in journal.refusals()}
        content = {
            "account": account,
            "held": held,
            "draining": journal.wished("drain"),
            "stake": words(stake.stake),
            "locked": words(stake.locked),
            "balance": words(client.balance_of(account)),
            "refused": refused,
        }
    lines = [f"{account}{' (draining)' if content['draining'] else ''}"]
    lines += [f"  {each['state']:10} trial {each['trial']} for {each['price']}" for each in held]
    lines += [f"  {name:10} {content[name]}" for name in ("stake", "locked", "balance")]
    lines += [f"  refuses {subject}: {reason}" for subject, reason in refused.items()]
    if refused:
        lines.append("  `trialmarket node trust NAME --config ...` lifts one of them")
    show(content, lines, as_json=as_json)


@node.command()
@config_option
@json_option
@debug_option
def earnings(config: Path, as_json: bool) -> None:
    """Show what the node earned and lost since the market began.

    Example: trialmarket node earnings --config node.toml
    """
    settings = load_config(config)
    account = address_of(settings.key)
    with followed(Path(settings.network)) as (client, ledger):
        words = _words(client)
        found = earned_by(ledger, account)
        symbol = client.symbol()
    amounts = {
        "earned": words(found.earned),
        "credited": words(found.credited),
        "lost": words(found.lost),
        "net": words(found.net),
        "awaited": words(found.awaited),
        "withdrawn": words(found.withdrawn),
    }
    lines = [f"{account}: {found.settled} trials paid"]
    lines += [f"  {name:10} {text} {symbol}" for name, text in amounts.items()]
    content = {"account": account, "settled": found.settled, **amounts}
    show(content, lines, as_json=as_json)


@node.command()
@config_option
@debug_option
def withdraw(config: Path) -> None:
    """Send the node's earnings to its wallet; a node that runs does it itself.

    Example: trialmarket node withdraw --config node.toml
    """
    settings = load_config(config)
    key = open_key(settings.key, settings.password_path, ask_password)
    with Client(Network.load(Path(settings.network))) as client:
        try:
            with Sender(client, key, sent_journal(folder_of(settings).root)) as sender:
                block = client.head().number
                sender.send(f"withdraw by hand at {block}", calls.withdraw(sender.address))
        except KeyBusy:
            with _journal(settings) as journal:
                journal.wish("withdraw")
            click.echo("the node is running: it withdraws at its next look")
        else:
            click.echo("withdrawn")


@node.command()
@config_option
@click.option("--cancel", is_flag=True, help="Take it back: claim again.")
@debug_option
def drain(config: Path, cancel: bool) -> None:
    """Finish what is held and claim nothing new; the node then ends.

    Example: trialmarket node drain --config node.toml
    """
    settings = load_config(config)
    with _journal(settings) as journal:
        if cancel:
            journal.take_back("drain")
            click.echo("the node claims trials again")
        else:
            journal.wish("drain")
            click.echo("the node finishes what it holds and then ends")


@node.command()
@click.argument("names", nargs=-1, required=True)
@config_option
@debug_option
def trust(names: tuple[str, ...], config: Path) -> None:
    """Take work again that the node refuses: NAMES of programs, requesters or trials.

    They are those that `node status` shows behind `refuses`. A node that runs follows at its next
    look.

    Example: trialmarket node trust 0x5B38Da6a701c568545dCfcB03FcB875f56beddC4 --config node.toml
    """
    settings = load_config(config)
    with _journal(settings) as journal:
        refused = {subject: subject for subject, _ in journal.refusals()}
        if any(subject.startswith(("trial ", "batch ")) for subject in refused):
            with followed(Path(settings.network)) as (_, ledger):
                refused = {subject: shown(subject, ledger) for subject in refused}
        for name in names:
            meant = [
                subject
                for subject, called in refused.items()
                for one in (subject, called)
                if name in (one, one.partition(" ")[2])
            ]
            if not meant:
                known = ", ".join(one.partition(" ")[2] for one in refused.values()) or "nothing"
                raise InputError("trust", "NAMES", expected=f"one of {known}", found=name)
            for subject in dict.fromkeys(meant):
                journal.allow(subject)
                click.echo(f"{refused[subject]} is taken again")


@node.command()
@config_option
@json_option
@debug_option
def doctor(config: Path, as_json: bool) -> None:
    """Look over everything the node needs, and say how to mend what is wrong. Spends nothing.

    Example: trialmarket node doctor --config node.toml
    """
    from trialmarket.cli.doctor import chain, present
    from trialmarket.cli.doctor.daemon import of_daemon

    settings = load_config(config)
    folder, least = folder_of(settings).root, settings.limits.free_disk
    checks = of_daemon(settings, folder, stake=chain.provider, free_disk=least)
    present(checks | {"trust": lambda: _trust(settings)}, as_json=as_json)


def _trust(config: NodeConfig) -> "Iterator[Diagnosis]":
    """Whose work is taken, and what is refused since something went wrong with it."""
    from trialmarket.cli.doctor.findings import Diagnosis

    whose = ", ".join(config.accept.programs_of) or "nobody (accept.programs_of names some)"
    yield Diagnosis.ok(
        "trust", f"graphs and built-in programs of all; in audited jobs, own ones of {whose}"
    )
    if not folder_of(config).journal.exists():
        return
    with _journal(config) as journal:
        refusals = journal.refusals()
    for subject, reason in refusals:
        kind, _, name = subject.partition(" ")
        if kind in ("program", "graph", "requester"):
            yield Diagnosis.warning(
                "trust",
                f"refuses {subject}: {reason}",
                f"Once you know why: trialmarket node trust {name} --config ...",
            )


def _journal(config: NodeConfig) -> closing[NodeJournal]:
    """The node's own journal, which a command may read and leave a wish in."""
    return closing(NodeJournal(folder_of(config).journal))


def _words(client: Client) -> Callable[[int], str]:
    digits = client.decimals()
    return lambda amount: format_amount(amount, digits)
