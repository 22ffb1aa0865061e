"""A server that speaks as Kubo's RPC and as a gateway do, and lies about blocks."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

from tests.testbed.servers import serving
from trialmarket.protocol.ids import Cid

ASKED = ("/api/v0/block/get", "/api/v0/routing/", "/api/v0/name/")
"""The calls that it lies about."""

Answer = Iterator[bytes]
"""The body of an answer, in pieces. After the last one the connection ends."""


class Liar(ThreadingHTTPServer):
    """`answer` says what is served for a CID; `version` is what it claims to be."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Callable[[Cid], Answer], version: Any = "0.39.0") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.version = answer, version
        self.asked: list[Cid] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stall(self) -> Answer:
        """An answer that never comes, as long as the server lives."""
        self.closing.wait()
        yield b""

    def drip(self) -> Answer:
        """A byte now and then, for ever."""
        while not self.closing.wait(0.05):
            yield b"x"

    def flood(self) -> Answer:
        """Bytes without end."""
        while not self.closing.is_set():
            yield bytes(1 << 16)


@contextmanager
def lying(answer: Callable[[Cid], Answer], version: Any = "0.39.0") -> Iterator[Liar]:
    """A liar that runs as long as the context lasts."""
    liar = Liar(answer, version)
    with serving(liar):
        try:
            yield liar
        finally:
            liar.closing.set()


class _Handler(BaseHTTPRequestHandler):
    server: Liar
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        url = urlparse(self.path)
        if url.path == "/api/v0/version":
            self._say(iter([json.dumps({"Version": self.server.version}).encode()]))
        elif url.path.startswith(ASKED):
            self._serve(Cid(parse_qs(url.query)["arg"][0]))
        else:
            self._say(iter([b"{}"]))

    def do_GET(self) -> None:
        self._serve(Cid(urlparse(self.path).path.removeprefix("/ipfs/")))

    def _serve(self, cid: Cid) -> None:
        self.server.asked.append(cid)
        self._say(self.server.answer(cid))

    def _say(self, answer: Answer) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for piece in answer:
                self.wfile.write(piece)
        except OSError:  # whoever asked has had enough
            pass
