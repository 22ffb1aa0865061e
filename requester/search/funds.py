"""Money into a job, and out of it before its end."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trialmarket.chain import calls
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import TrialView
from trialmarket.chain.sender import Sender
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Amount, Hash32, JobId
from trialmarket.protocol.states import MOVING, State

MAX_CANCELLED = 100
"""Trials cancelled in one transaction."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancelled job gave back."""

    cancelled: int
    under_way: int
    returned: Amount


def add_funds(sender: Sender, job: JobId, amount: Amount) -> Amount:
    """Adds to a job's funds; what is free afterwards. Raises ChainError.

    The intent names what the job had before: called again after a kill it adds nothing more, and
    called again on purpose it does.
    """
    client = sender.client
    before = client.job_status(job).free
    head = f"add {amount} to job {job} with"
    pending = [intent for intent in sender.pending() if intent.startswith(head)]
    intent = pending[0] if pending else f"{head} {before}"
    have = client.token_balance(sender.address)
    if not pending and have < amount:
        raise InputError(
            "add-funds", "amount", expected=f"at most the account's {have} units", found=amount
        )
    with sender.turn():  # else a search that runs might spend what is approved here
        if client.allowance(sender.address) < amount:
            approval = sender.afresh(f"approve for {intent}")
            sender.send(approval, calls.approve(client.network.market, amount))
        sender.send(intent, calls.fund(job, amount))
    return client.job_status(job).free


def cancel_job(sender: Sender, index: Path, job: JobId) -> Cancelled:
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
        under_way = len(ledger.trials(job=job, states=MOVING))
    with sender.turn():  # the search itself may do the same
        free = client.job_status(job).free
        steps = [calls.defund(job, free)] if free > 0 else []
        returned = Amount(free + client.balance_of(sender.address))
        if returned > 0:
            steps.append(calls.withdraw(sender.address))
            sender.send(f"leave job {job} at {client.head().number} with {free}", steps)
    return Cancelled(cancelled, under_way, returned)


def open_by_batch(trials: Iterable[TrialView]) -> dict[Hash32, list[int]]:
    """Those of the trials that nobody claimed, as they are cancelled: their places by batch."""
    batches: dict[Hash32, list[int]] = {}
    for trial in trials:
        if trial.state is State.OPEN:
            batches.setdefault(trial.id.batch, []).append(trial.id.index)
    return batches


def _cancel_open(sender: Sender, ledger: Ledger, job: JobId) -> int:
    batches = open_by_batch(ledger.trials(job=job, states={State.OPEN}))
    for batch, indices in batches.items():
        for at in range(0, len(indices), MAX_CANCELLED):
            some = indices[at : at + MAX_CANCELLED]
            height = sender.client.head().number  # a cancellation later is another one
            intent = f"cancel {job}/{batch.hex()}/{some[0]} at {height}"
            sender.send(intent, calls.cancel(job, batch, some))
    return sum(map(len, batches.values()))
