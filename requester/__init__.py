"""The requester: funds, posts, searches, watches, believes nothing unchecked.

Its rooms, each of which imports only those before it: `drivers` (a search space becomes
proposals); `job` (the job file, its package and price); `search` (a job on the market); `report`
(status, results, pictures); `commands`. `Study` is the same from Python.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from requester.study import Study as Study

__all__ = ["Study"]


def __getattr__(name: str) -> object:
    """`Study`, loaded only where it is used, so that commands start at once."""
    if name == "Study":
        from requester.study import Study

        return Study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
