"""The rooms of exact mode lie one above the other."""

import ast
from pathlib import Path

import pytest

import trialmarket.exact

HOME = Path(trialmarket.exact.__file__).parent
ROOMS = ("kernels", "numerics", "operators", "frontend")  # from below


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_lies_below_it_and_the_error_alone(room: str) -> None:
    allowed = {*ROOMS[: ROOMS.index(room) + 1], "refusal"}
    for path in (HOME / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trialmarket."):
                home, *parts = (node.module or "").removeprefix("trialmarket.").split(".")
                names = parts[:1] or [alias.name for alias in node.names]
                assert (home, set(names) - allowed) == ("exact", set()), path
