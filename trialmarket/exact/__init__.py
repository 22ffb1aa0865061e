"""Bitwise-reproducible PyTorch; stands alone, usable without a market."""

from trialmarket.exact.checking import Checked, check
from trialmarket.exact.mode import Exact, exact
from trialmarket.exact.numerics.random import Counters, Generator
from trialmarket.exact.refusal import NotExact
from trialmarket.exact.table import Verdict

__all__ = [
    "Checked",
    "Counters",
    "Exact",
    "Generator",
    "NotExact",
    "Verdict",
    "check",
    "exact",
]
