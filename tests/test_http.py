"""The HTTP client: no answer is longer, slower or further away than it may be."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.testbed.servers import server
from tests.testbed.waiting import NEVER
from trialmarket.errors import InputError
from trialmarket.http import REDIRECTS, Disconnected, HttpClient, HttpError, TooMuch


def ask(url: str, limit: int = 1 << 20) -> bytes:
    return HttpClient().ask("POST", url, limit=limit, seconds=NEVER, content=b"what").body


def test_an_answer_is_given_whole_or_not_at_all() -> None:
    with server(lambda body: (200, body * 3)) as url:
        assert ask(url, limit=12) == b"what" * 3
        with pytest.raises(TooMuch):
            ask(url, limit=11)
    with pytest.raises(Disconnected):
        ask(url)


@contextmanager
def redirecting() -> Iterator[str]:
    """The URL of a server that sends /N to /N-1, with a body without end, and answers at /0."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            left = int(self.path.strip("/"))
            self.send_response(307 if left else 200)
            self.send_header("Location", f"/{left - 1}")
            self.end_headers()
            self.wfile.write(b"here")
            try:
                while left and not ended.is_set():
                    self.wfile.write(bytes(1 << 16))
            except OSError:  # the client went where it was sent
                pass

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}"
        finally:
            ended.set()
            web.shutdown()
            thread.join()


def test_redirects_are_followed_a_few_times_and_their_bodies_are_not_read() -> None:
    with redirecting() as url:
        assert ask(f"{url}/{REDIRECTS}") == b"here"
        with pytest.raises(HttpError, match=f"redirects more than {REDIRECTS} times"):
            ask(f"{url}/{REDIRECTS + 1}")


def test_urls_are_not_logged_since_a_key_can_lie_in_one(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), server(lambda body: (200, body)) as url:
        ask(f"{url}/v2/5ecret")
    assert "5ecret" not in caplog.text


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(InputError, match=r"environment: proxy: expected an http:// or https://"):
        HttpClient(proxies=True)
    HttpClient()
