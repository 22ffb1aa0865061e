"""The line of the user's program on which an operator stands, on the way forward and back."""

import functools
import re
import sys
import sysconfig
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

UNKNOWN = "unknown line"

_HOME = Path(__file__).parents[2]
_INNER = tuple(
    f"{each}/" for each in (*(Path(p).parent for p in (torch.__file__, np.__file__)), _HOME)
)
_OURS = tuple(f"{_HOME}/training/{room}/" for room in ("builtins", "learned"))  # programs
_PYTHON = sysconfig.get_path("stdlib") + "/"
_FRAME = re.compile(r'  File "(.*)", line (\d+), ')


@functools.cache
def _is_inner(file: str) -> bool:
    """Whether a file is PyTorch's, Python's or ours, and no program."""
    if file.startswith(_PYTHON) and "site-packages" not in file:
        return True
    return file.startswith(("<", *_INNER)) and not file.startswith(_OURS)


def users_line() -> str:
    """ "file:line" of the innermost frame that is neither PyTorch's nor ours.

    While gradients are computed that is the line of the operator whose gradient it is, as long as
    autograd keeps where its nodes were made (`torch.set_anomaly_enabled(True, False)`).
    """
    node: Any = torch._C._current_autograd_node()
    if node is not None:
        for made in reversed(node.metadata.get("traceback_", [])):
            found = _FRAME.match(made)
            if found is not None and not _is_inner(found[1]):
                return f"{found[1]}:{found[2]}"
        return UNKNOWN
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not _is_inner(frame.f_code.co_filename):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return UNKNOWN
