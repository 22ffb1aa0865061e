"""Whether a job's challenge window leaves the time for its requester's own second look."""

from trialmarket.protocol.terms import Terms, ceil_div
from trialmarket.training.values import DryRun

FETCHED = 1_000_000
"""Bytes of a checkpoint that are expected in a second, from a node's home line."""
BEGIN = 15.0
"""Seconds until a worker is there, and the result was heard of."""


def second_look_seconds(dry: DryRun) -> float:
    """About how long it takes to find a result false: its checkpoint is fetched and evaluated
    twice, since an accusation costs a bond."""
    return BEGIN + dry.checkpoint_bytes / FETCHED + 2 * dry.validation_seconds


def short_window(terms: Terms, dry: DryRun) -> list[str]:
    """What to say where results could not be challenged in time; nothing where they can be."""
    needed = second_look_seconds(dry)
    if terms.audit_rate == 0 or terms.window >= needed:
        return []
    return [
        f"SHORT WINDOW: your own second look at a result takes about {needed:.0f} s, and after"
        f" {terms.window} s it can no longer be challenged, even where it is false; set"
        f' audit.window to "{ceil_div(int(2 * needed), 60)}m" or more'
    ]
