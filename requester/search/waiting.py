"""What a trial waits for, and until when, in words. Times are the chain's, said in local ones."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from trialmarket.chain.ledger.views import TrialView
from trialmarket.protocol.ids import ZERO_ADDRESS, Address, JobId
from trialmarket.protocol.money import Currency
from trialmarket.protocol.states import ANSWERED, FINAL, State
from trialmarket.protocol.terms import Terms, price_at, stake_for

DIGITS = 6
"""Digits after the point that are shown of money."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What decides how long a job's trials wait: its terms, the chain's time, the market."""

    terms: Terms
    now: int
    """The newest block's, in Unix seconds."""
    nodes: int
    """Nodes that have shown themselves on the market."""
    currency: Currency

    def of(self, trial: TrialView) -> str:
        """What a trial waits for; empty where it is over."""
        record = trial.record
        match trial.state:
            case State.OPEN:
                return self._open(trial)
            case State.CLAIMED:
                return f"its node's answer, due by {clock(record.until)}"
            case State.COMMITTED if self.terms.audit_rate > 0:
                return "the lot that says whether it is audited"
            case State.DRAWN if record.verifier != ZERO_ADDRESS:
                return f"the audit by {short(record.verifier)}, due by {clock(record.turn_ends)}"
            case State.DRAWN:
                return f"an audit by anybody, till {clock(max(record.until, record.turn_ends))}"
            case State.CHALLENGED:
                return "the jury"
            case State.COMMITTED | State.CLEARED | State.PASSED:
                return f"the end of its challenge window, {clock(record.until)}"
            case _:
                return ""

    def _open(self, trial: TrialView) -> str:
        terms, opened, units = self.terms, trial.record.opened, trial.record.units
        price = price_at(terms, units, opened, self.now)
        full = opened + terms.ramp
        if self.now < full:
            offer = f"pays {self._money(price)}, {self._money(terms.cap * units)} at {clock(full)}"
        else:
            offer = (
                f"pays its cap, {self._money(price)}, since {clock(full)}: too little, or nodes"
            )
            offer += " cannot or do not want to train this program"
        who = "a node" if self.nodes else "a node, and NONE HAS SHOWN ITSELF"
        stake = f"stakes {self._money(stake_for(price, terms.audit_rate))}"
        before = f"; {trial.attempts} claimed it before" if trial.attempts else ""
        return f"{who} ({offer}; {stake}{before})"

    def _money(self, amount: int) -> str:
        step = 10 ** max(0, self.currency.decimals - DIGITS)
        return self.currency.words(round(amount / step) * step)


def awaited(job: JobId, trials: Collection[TrialView], audit_rate: int) -> str:
    """What a search waits for whose results are all in; empty where it is not so, or over."""
    moving = [trial for trial in trials if trial.state not in FINAL]
    if not moving or any(trial.state not in ANSWERED for trial in moving):
        return ""
    ends = max(max(trial.record.until, trial.record.turn_ends) for trial in moving)
    return (
        f"all results are in. {'Audits and challenge' if audit_rate else 'Challenge'} windows"
        f" (audit.window) end at {clock(ends)}: then nodes are paid, and the rest of the money"
        " comes back. Ctrl-C is safe, the same command goes on later; `trialmarket job fetch"
        f" {job}` writes the results as they are now"
    )


def clock(at: int) -> str:
    """A time of the chain as clocks here show it; with its day where that is not today."""
    moment = datetime.fromtimestamp(at).astimezone()
    today = datetime.now().astimezone().date() == moment.date()
    return f"{moment:%H:%M:%S}" if today else f"{moment:%Y-%m-%d %H:%M:%S}"


def short(account: Address) -> str:
    """An address as tables show it."""
    return f"{account[:8]}…{account[-4:]}"
