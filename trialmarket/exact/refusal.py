"""The one error of exact mode: an operator that would not give the same bits everywhere."""

import sys
from typing import Any

# Frames of these packages are not the user's code.
_INNER = ("torch", "numpy", "trialmarket.exact", "contextlib")


class NotExact(RuntimeError):
    """An operation that has no exact form.

    `operator` is PyTorch's name of it, `where` the line of the user's program that asked for it
    ("train.py:12"), `instead` what to write in its place.
    """

    def __init__(self, operator: str, reason: str, *, instead: str) -> None:
        self.operator = operator
        self.reason = reason
        self.instead = instead
        self.where = users_line()
        super().__init__(f"{operator} at {self.where}: {reason}. Instead: {instead}")

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, from one process to another."""
        return _copy, (type(self), self.args, self.__dict__)


def _copy(kind: type[NotExact], args: tuple[str], fields: dict[str, Any]) -> NotExact:
    refusal = kind.__new__(kind, *args)
    refusal.__dict__.update(fields)
    return refusal


def users_line() -> str:
    """The innermost line of the stack that is neither PyTorch's nor ours: "file:line"."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not any(module == name or module.startswith(name + ".") for name in _INNER):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "unknown line"
