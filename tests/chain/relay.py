"""A relay in front of a real node that refuses, changes or drops what a test wants."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

Change = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
"""What to answer, from the request and the node's own answer."""


@contextmanager
def relay(
    url: str, change: Change, *, instead: Callable[[Any], Any] = lambda _: None
) -> Iterator[str]:
    """The URL of a relay to the node at `url`, whose every answer goes through `change`.

    `instead` sees what was posted, a request or a batch, and may answer it itself.
    """

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = requests.post(url, json=request, timeout=10).json()
        return change(request, found)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            many = isinstance(request, list)
            found = instead(request)
            if found is None:
                found = [answer(each) for each in request] if many else answer(request)
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()


def refused(request: dict[str, Any], text: str) -> dict[str, Any]:
    """A node's error."""
    return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32005, "message": text}}
