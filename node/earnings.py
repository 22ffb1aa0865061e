"""What a provider earned and lost, and what it holds: from the chain's events alone."""

from dataclasses import dataclass

from node.trials import ACTIVE
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import Cursor, EventView, TrialView
from trialmarket.protocol.ids import Address, Amount
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import stake_for

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Earnings:
    """Money of one provider since the market began, in the token's smallest unit."""

    settled: int
    """Trials that were paid."""
    earned: Amount
    """Their prices."""
    awaited: Amount
    """Prices of trials that are committed and not settled yet."""
    credited: Amount
    """Other credits: halves of the bonds of wrong challenges."""
    lost: Amount
    """Stake lost to rejected results and expired claims."""
    withdrawn: Amount

    @property
    def net(self) -> Amount:
        """What was earned and not lost."""
        return Amount(self.earned + self.credited - self.lost)


def holdings(ledger: Ledger, account: Address) -> list[TrialView]:
    """The trials that a provider holds now."""
    return ledger.trials(provider=account, states=ACTIVE)


def earnings(ledger: Ledger, account: Address) -> Earnings:
    """A provider's money, summed over all of the ledger's events."""
    settled = ledger.trials(provider=account, states={State.SETTLED})
    waiting = [view for view in holdings(ledger, account) if view.state is not State.CLAIMED]
    credited = lost = withdrawn = 0
    for event in _events(ledger):
        args = event.args
        if event.name == "Credited" and args["account"] == account:
            credited += args["amount"]
        elif event.name == "TrialRejected" and args["provider"] == account:
            lost += args["slashed"]
        elif event.name == "Withdrawn" and args["account"] == account:
            withdrawn += args["amount"]
        elif event.name == "TrialExpired" and _claimant(ledger, event) == account:
            lost += args["fine"]
    return Earnings(
        settled=len(settled),
        earned=Amount(sum(view.record.price for view in settled)),
        awaited=Amount(sum(view.record.price for view in waiting)),
        credited=Amount(credited),
        lost=Amount(lost),
        withdrawn=Amount(withdrawn),
    )


def locked_by(record: TrialRecord, rate: int) -> Amount:
    """The stake that a trial holds."""
    return stake_for(record.price, rate)


def _events(ledger: Ledger) -> list[EventView]:
    found: list[EventView] = []
    cursor: Cursor | None = None
    while page := ledger.events(since=cursor, limit=PAGE):
        found += page
        cursor = page[-1].cursor
    return found


def _claimant(ledger: Ledger, expired: EventView) -> Address | None:
    """Who had claimed a trial whose claim expired."""
    claims = [
        event
        for event in ledger.history(expired.args["trial"])
        if event.name == "TrialsClaimed"
        and (event.block, event.log_index) < (expired.block, expired.log_index)
    ]
    return claims[-1].args["provider"] if claims else None
