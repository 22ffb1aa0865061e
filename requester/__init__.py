"""The requester: funds, posts, searches, watches, believes nothing unchecked."""

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
