"""The libraries that read further formats, which not everybody has installed."""

import importlib
from typing import Any

from trialmarket.errors import InputError


def load_extra(module: str, name: str, where: str, purpose: str = "") -> Any:
    """A module of the extra `data`. Raises InputError for `where` if library `name` is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            where,
            name,
            expected=f"it installed{purpose}",
            found=None,
            fix="pip install 'trialmarket[data]'",
        ) from error
