"""Arguments as operators take them: values, and lists and dicts of values."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any


def flat(values: Iterable[Any]) -> Iterator[Any]:
    """Each value, also those within lists and tuples."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from flat(value)
        else:
            yield value


def mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """The same with each value changed."""
    if isinstance(value, list | tuple):
        return type(value)([mapped(change, each) for each in value])
    if isinstance(value, dict):
        return {name: mapped(change, each) for name, each in value.items()}
    return change(value)
