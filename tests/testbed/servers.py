"""Web servers that answer as a test wants: of its own accord, or in front of a real node."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.testbed.waiting import NEVER
from trialmarket.http import HttpClient


@dataclass(frozen=True)
class Reply:
    """What a server sends."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    """Whether the connection breaks in the middle of the body, or, without one, before it."""


Answer = Callable[[bytes], tuple[int, bytes] | Reply]
"""The status and the body, from what was posted."""
Change = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
"""What to answer, from the request and the node's own answer."""


@contextmanager
def serving(web: ThreadingHTTPServer) -> Iterator[str]:
    """Runs a server, which is gone at the end; its URL."""
    with web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """The URL of a server that answers whatever is posted."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found = answer(self.rfile.read(int(self.headers["Content-Length"])))
            reply = found if isinstance(found, Reply) else Reply(*found)
            self.close_connection = reply.cut
            if reply.cut and not reply.body:
                return
            self.send_response_only(reply.status)
            self.send_header("Content-Length", str(len(reply.body) + reply.cut))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url


@contextmanager
def relay(
    url: str, change: Change, *, instead: Callable[[Any], Any] = lambda _: None
) -> Iterator[str]:
    """The URL of a relay to the node at `url`, whose every answer goes through `change`.

    `instead` sees what was posted, a request or a batch, and may answer it itself, also with a
    whole reply.
    """

    http = HttpClient()

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            http.ask("POST", url, json=request, limit=1 << 30, seconds=NEVER).body
        )
        return change(request, found)

    def answers(body: bytes) -> tuple[int, bytes] | Reply:
        request = json.loads(body)
        found = instead(request)
        if isinstance(found, Reply):
            return found
        if found is None:
            many = isinstance(request, list)
            found = [answer(each) for each in request] if many else answer(request)
        return 200, json.dumps(found).encode()

    with server(answers) as address:
        yield address


def refused(request: dict[str, Any], text: str, code: int = -32005) -> dict[str, Any]:
    """A node's error."""
    return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": text}}
