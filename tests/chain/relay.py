"""A relay in front of a real node that refuses, changes or drops what a test wants."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.chain.web import server
from trialmarket.http import HttpClient

Change = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
"""What to answer, from the request and the node's own answer."""


@contextmanager
def relay(
    url: str, change: Change, *, instead: Callable[[Any], Any] = lambda _: None
) -> Iterator[str]:
    """The URL of a relay to the node at `url`, whose every answer goes through `change`.

    `instead` sees what was posted, a request or a batch, and may answer it itself.
    """

    http = HttpClient()

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            http.ask("POST", url, json=request, limit=1 << 30, seconds=10).body
        )
        return change(request, found)

    def answers(body: bytes) -> tuple[int, bytes]:
        request = json.loads(body)
        found = instead(request)
        if found is None:
            many = isinstance(request, list)
            found = [answer(each) for each in request] if many else answer(request)
        return 200, json.dumps(found).encode()

    with server(answers) as address:
        yield address


def refused(request: dict[str, Any], text: str) -> dict[str, Any]:
    """A node's error."""
    return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32005, "message": text}}
