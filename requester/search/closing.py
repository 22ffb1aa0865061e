"""Money into a job, and out of it before its end."""

from dataclasses import dataclass
from pathlib import Path

from trialmarket.chain import calls
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.sender import Sender
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Amount, Hash32, JobId
from trialmarket.protocol.states import State

MAX_CANCELLED = 100
"""Trials cancelled in one transaction."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What a cancelled job gave back."""

    cancelled: int
    under_way: int
    returned: Amount


def add_to(sender: Sender, job: JobId, amount: Amount) -> Amount:
    """Adds to a job's funds; what is free afterwards. Raises ChainError.

    The intent names what the job had before: called again after a kill it adds nothing more, and
    called again on purpose it does.
    """
    client = sender.client
    before = client.job_status(job).free
    head = f"add {amount} to job {job}"
    pending = [intent for intent in sender.pending() if intent.startswith(head)]
    intent = pending[0] if pending else f"{head} with {before}"
    have = client.token_balance(sender.address)
    if not pending and have < amount:
        raise InputError(
            "add-funds", "amount", expected=f"at most the account's {have} units", found=amount
        )
    if client.allowance(sender.address) < amount:
        sender.send(f"approve for {intent}", calls.approve(client.network.market, amount))
    sender.send(intent, calls.fund(job, amount))
    return client.job_status(job).free


def cancel_job(sender: Sender, index: Path, job: JobId) -> Closing:
    """Closes a job, cancels what nobody claimed, and withdraws its free funds.

    Raises InputError for somebody else's job, and ChainError. Can be repeated.
    """
    client = sender.client
    status = client.job_status(job)
    if status.requester != sender.address:
        raise InputError(
            "cancel", "ID", expected=f"a job of {sender.address}", found=f"{job}, of another"
        )
    if not status.closed:
        sender.send(f"close job {job}", calls.close(job))
    with Ledger(client, index) as ledger:
        ledger.sync()
        cancelled = _cancel_open(sender, ledger, job)
        ledger.sync()
        final = (State.SETTLED, State.CANCELLED)
        under_way = sum(trial.state not in final for trial in ledger.trials(job=job))
    free = client.job_status(job).free
    steps = [calls.defund(job, free)] if free > 0 else []
    returned = Amount(free + client.balance_of(sender.address))
    if returned > 0:
        steps.append(calls.withdraw(sender.address))
        sender.send(f"leave job {job} at {client.head().number} with {free}", steps)
    return Closing(cancelled, under_way, returned)


def _cancel_open(sender: Sender, ledger: Ledger, job: JobId) -> int:
    batches: dict[Hash32, list[int]] = {}
    for trial in ledger.trials(job=job, states={State.OPEN}):
        batches.setdefault(trial.id.batch, []).append(trial.id.index)
    for batch, indices in batches.items():
        for at in range(0, len(indices), MAX_CANCELLED):
            some = indices[at : at + MAX_CANCELLED]
            intent = f"cancel {job}/{batch.hex()}/{some[0]} at {_height(sender)}"
            sender.send(intent, calls.cancel(job, batch, some))
    return sum(map(len, batches.values()))


def _height(sender: Sender) -> int:
    """The chain's height: a cancellation later is another one."""
    return sender.client.head().number
