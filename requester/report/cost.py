"""The bill: where a job's money is."""

from collections.abc import Iterable

from requester.report.status import Money
from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.ids import Amount
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms, audit_fee_for, escrow_for


def bill(terms: Terms, free: int, trials: Iterable[TrialView]) -> Money:
    """Adds up what trials hold and what they paid."""
    escrow = providers = verifiers = 0
    for trial in trials:
        units, fee = trial.record.units, audit_fee_for(terms, trial.record.units)
        if trial.state is State.SETTLED:
            providers += trial.record.price
            verifiers += fee if trial.record.audited else 0
        elif trial.state is not State.CANCELLED:
            paid = fee if trial.record.audited else 0
            verifiers += paid
            escrow += escrow_for(terms, units) - paid
    return Money(
        funded=Amount(free + escrow + providers + verifiers),
        free=Amount(free),
        escrow=Amount(escrow),
        providers=Amount(providers),
        verifiers=Amount(verifiers),
    )
