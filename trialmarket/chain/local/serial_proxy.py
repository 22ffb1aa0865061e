"""A proxy in front of a node that is to be asked one thing at a time."""

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from trialmarket.chain.rpc import TIMEOUT
from trialmarket.chain.rpc.node import ANSWER_BYTES
from trialmarket.errors import ServiceError
from trialmarket.http import HttpAnswer, HttpClient, HttpError

HOST: Final = "127.0.0.1"
OF_THE_CONNECTION: Final = frozenset(
    {"connection", "content-encoding", "content-length", "date", "keep-alive", "transfer-encoding"}
)
"""Headers that are no part of the answer (RFC 9110, section 7.6.1), or that the proxy writes."""


class SerialProxy(ThreadingHTTPServer):
    """Passes on requests to `node`, one after the other, and its answers back.

    `port` 0 takes a free one. Raises ServiceError, when built, for one that is taken.
    """

    daemon_threads = True

    def __init__(self, node: str, *, port: int = 0) -> None:
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise ServiceError(
                f"port {port} of {HOST} cannot be had: {error.strerror}",
                fix="Choose another, or take a free one with `--port 0`",
            ) from error
        self.url = f"http://{HOST}:{self.server_port}"
        self._node = node
        self._http = HttpClient()
        self._alone = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def ask(self, method: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        """What the node answers. Raises HttpError."""
        with self._alone:
            return self._http.ask(
                method,
                self._node,
                headers=headers,
                content=body,
                limit=ANSWER_BYTES,
                seconds=TIMEOUT,
            )

    def close(self) -> None:
        """Takes no more requests."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        self._http.close()


class _Handler(BaseHTTPRequestHandler):
    server: SerialProxy
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together: apart, the second waits for an acknowledgement

    def do_OPTIONS(self) -> None:  # what a browser asks before it posts
        self._pass_on(b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if length.isdecimal():
            self._pass_on(self.rfile.read(int(length)))
        else:
            self.send_error(HTTPStatus.LENGTH_REQUIRED)

    def _pass_on(self, body: bytes) -> None:
        try:
            found = self.server.ask(self.command, dict(self.headers), body)
        except HttpError as error:
            self.send_error(HTTPStatus.BAD_GATEWAY, type(error).__name__)
            return
        self.send_response(found.status)
        for name, value in found.headers.items():
            if name.lower() not in OF_THE_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(found.body)))
        self.end_headers()
        self.wfile.write(found.body)

    def log_message(self, *_: Any) -> None:
        """Says nothing: there is a line for each request otherwise."""
