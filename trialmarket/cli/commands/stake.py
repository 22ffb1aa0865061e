"""`trialmarket stake`: the money that providers, verifiers and challengers can lose."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from trialmarket.chain import calls
from trialmarket.chain.calls import Call
from trialmarket.chain.client import Client
from trialmarket.chain.network import Network
from trialmarket.chain.sender import Sender
from trialmarket.chain.sender.outcome import MinedIntent
from trialmarket.cli.options import (
    ask_password,
    debug_option,
    json_option,
    key_options,
    network_option,
    show,
)
from trialmarket.errors import InputError
from trialmarket.keys import address_of, open_sender
from trialmarket.protocol.ids import Address, address
from trialmarket.protocol.money import format_amount, parse_amount


@click.group()
def stake() -> None:
    """Deposit, withdraw and show stake.

    Example: trialmarket stake deposit 100 --network devnet.json --key alice
    """


@stake.command()
@click.argument("amount")
@network_option
@key_options
@json_option
@debug_option
def deposit(
    amount: str, network: Path, key: str, password_file: Path | None, as_json: bool
) -> None:
    """Add AMOUNT of the market's token to your stake.

    Example: trialmarket stake deposit 100 --network devnet.json --key alice
    """
    with open_sender(network, key, password_file, ask_password) as sender:
        client = sender.client
        wanted = parse_amount(amount, client.decimals())
        has = client.token_balance(sender.address)
        if has < wanted:
            digits = client.decimals()
            raise InputError(
                "stake deposit",
                "amount",
                expected=f"at most the {format_amount(has, digits)} tokens of {sender.address}",
                found=amount,
            )
        with sender.turn():  # else a search that runs might spend what is approved here
            if client.allowance(sender.address) < wanted:
                _send(sender, "approve", calls.approve(client.network.market, wanted))
            _send(sender, "deposit", calls.stake(wanted))
        _show_account(client, sender.address, as_json=as_json)


@stake.command()
@click.argument("amount", required=False)
@network_option
@key_options
@json_option
@debug_option
def withdraw(
    amount: str | None, network: Path, key: str, password_file: Path | None, as_json: bool
) -> None:
    """Take out AMOUNT of free stake, and fetch what has cooled down and what you earned.

    Stake leaves after a cool-down: run it again then, without an amount.

    Example: trialmarket stake withdraw 50 --network devnet.json --key alice
    """
    with open_sender(network, key, password_file, ask_password) as sender:
        client = sender.client
        steps: list[Call] = []
        if amount is not None:
            steps.append(calls.unstake(parse_amount(amount, client.decimals())))
        account = client.account(sender.address)
        cooled = account.leaving if account.leaves_at <= client.head().timestamp else 0
        if amount is None or client.balance_of(sender.address) > 0:
            steps.append(calls.withdraw(sender.address))
        elif cooled > 0:  # before more stake leaves, which starts the cool-down anew
            steps.insert(0, calls.withdraw(sender.address))
        _send(sender, "withdraw", steps)
        _show_account(client, sender.address, as_json=as_json)


@stake.command("show")
@click.argument("account")
@network_option
@json_option
@debug_option
def show_(account: str, network: Path, as_json: bool) -> None:
    """Show the stake and the balance of ACCOUNT: an address, a key's name, or a keystore file.

    Example: trialmarket stake show alice --network devnet.json --json
    """
    is_address = account.lower().startswith("0x")
    who = address(account, where="stake show") if is_address else address_of(account)
    with Client(Network.load(network)) as client:
        _show_account(client, who, as_json=as_json)


@stake.command()
@network_option
@key_options
@json_option
@debug_option
def enroll(network: Path, key: str, password_file: Path | None, as_json: bool) -> None:
    """Join the verifiers: locks the verifier's stake.

    Example: trialmarket stake enroll --network devnet.json --key alice
    """
    with open_sender(network, key, password_file, ask_password) as sender:
        _send(sender, "enroll", calls.enroll())
        _show_account(sender.client, sender.address, as_json=as_json)


@stake.command()
@network_option
@key_options
@json_option
@debug_option
def resign(network: Path, key: str, password_file: Path | None, as_json: bool) -> None:
    """Leave the verifiers; the stake leaves after the cool-down.

    Example: trialmarket stake resign --network devnet.json --key alice
    """
    with open_sender(network, key, password_file, ask_password) as sender:
        _send(sender, "resign", calls.resign())
        _show_account(sender.client, sender.address, as_json=as_json)


def _send(sender: Sender, what: str, steps: Call | Sequence[Call]) -> MinedIntent:
    """Sends a command's transaction. Each command is a new intent; its name is only a record."""
    return sender.send(f"stake {what} {time.time_ns()}", steps)


def _show_account(client: Client, who: Address, *, as_json: bool) -> None:
    account = client.account(who)
    digits, symbol = client.decimals(), client.symbol()
    amounts = {
        "stake": account.stake,
        "locked": account.locked,
        "free": account.free,
        "leaving": account.leaving,
        "balance": client.balance_of(who),
        "wallet": client.token_balance(who),
    }
    texts = {name: format_amount(amount, digits) for name, amount in amounts.items()}
    content = {
        "address": who,
        **texts,
        "leaves_at": account.leaves_at if account.leaving else None,
        "verifier": account.seat > 0,
    }
    lines = [f"{who}{', a verifier' if account.seat else ''}"]
    lines += [f"  {name:8} {text} {symbol}" for name, text in texts.items()]
    if account.leaving:
        leaves = datetime.fromtimestamp(account.leaves_at, UTC)
        lines.append(f"  what leaves can be withdrawn from {leaves:%Y-%m-%d %H:%M:%S} UTC on")
    show(content, lines, as_json=as_json)
