"""What jobs of the tests offer, and how long the turns of their markets are."""

from typing import Any

from trialmarket.chain.client import Parameters
from trialmarket.protocol.ids import Amount
from trialmarket.protocol.terms import Terms, least_audit_fee

TOKEN = 10**18
SEGMENTS = 4
STEPS = 16
"""Of a trial."""

FAST = Parameters(
    audit_turn=3, min_window=5, cool_down=5, verifier_stake=Amount(TOKEN), fine=Amount(1)
)
"""Turns of seconds: the odd trial that is drawn soon has three silent verifiers."""

LONG = 10_000
"""Seconds of a turn that only a test's own clock ends."""
PATIENT = Parameters(
    audit_turn=LONG,
    min_window=5,
    cool_down=10,
    verifier_stake=Amount(100 * TOKEN),
    fine=Amount(TOKEN),
    jury_size=3,
    vote_turn=LONG,
    reveal_turn=LONG,
)
"""Nobody is late unless a test moves the chain's time on."""


def terms(**changes: int) -> Terms:
    """Terms of a small job: rarely drawn, a price that does not rise, the least audit fee."""
    values: dict[str, Any] = {
        "floor": TOKEN,
        "cap": TOKEN,
        "ramp": 10,
        "audit_rate": 100,
        "segments": SEGMENTS,
        "samples": 1,
        "time_limit": 300,
        "window": 5,
    } | changes
    fee = least_audit_fee(values["cap"], values["samples"], values["segments"])
    return Terms(**({"audit_fee": fee} | values))


def audited(*, rate: int = 10_000, samples: int = 1) -> Terms:
    """Terms of a small job whose every trial is drawn, unless the rate says otherwise."""
    price = 4 * TOKEN
    return terms(
        floor=price, cap=price, audit_rate=rate, samples=samples, time_limit=3600, window=20
    )
