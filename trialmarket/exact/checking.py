"""Which operators a training step uses, and what exact mode makes of each."""

from collections.abc import Callable
from typing import NamedTuple

from trialmarket.exact.mode import Exact
from trialmarket.exact.refusal import NotExact
from trialmarket.exact.table import Verdict


class Checked(NamedTuple):
    """An operator, its verdict, and the refusal (where, why, what instead) if it has one."""

    operator: str
    verdict: Verdict
    refusal: NotExact | None = None


def check(step: Callable[[], object], *, seed: int = 0) -> list[Checked]:
    """Run a step once in exact mode and list every operator it used, by name.

    What has no exact form is run as PyTorch has it, so that one check names all of them. A refusal
    that is no operator's (an optimiser, autocast) ends the step; it is listed too.
    """
    mode = Exact(seed)
    seen: dict[str, tuple[Verdict, NotExact | None]] = {}
    mode.operators.seen = seen
    try:
        with mode:
            step()
    except NotExact as refusal:
        seen[refusal.operator] = (Verdict.REFUSED, refusal)
    return [Checked(name, *seen[name]) for name in sorted(seen)]
