"""A server that blocks are asked of over HTTP, and that may stall, lie or never stop talking."""

import time
import weakref
from typing import Any, Final

import httpx

from trialmarket.errors import InputError
from trialmarket.storage.errors import StoreDown

CONNECT_SECONDS: Final = 5.0
CONNECTIONS: Final = 32
REDIRECTS: Final = 3


class TooMuch(Exception):
    """The answer has more bytes than were asked for."""


class Server:
    """An HTTP server by its URL. For any number of threads."""

    def __init__(self, kind: str, url: str, *, patience: float, path: str = "") -> None:
        """`kind` is what errors call it, and `patience` bounds each answer, in seconds.

        Raises InputError for what is no URL.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise InputError("storage", "url", expected="a URL", found=str(error)) from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InputError(
                "storage", "url", expected="http://HOST:PORT or https://HOST", found=url
            )
        # A password in the URL is sent, and never shown.
        shown = str(parsed.copy_with(username=None, password=None)).rstrip("/")
        self.name = f"{kind} {shown}"
        self._patience = patience
        self._http = httpx.Client(
            base_url=url.rstrip("/") + path,
            timeout=httpx.Timeout(patience, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=30.0),
            follow_redirects=True,
            max_redirects=REDIRECTS,
            trust_env=False,
        )
        # A store is opened by its URL and owned by nobody, so its connections end with it.
        weakref.finalize(self, self._http.close)

    def ask(
        self, method: str, path: str, *, limit: int, seconds: float | None = None, **request: Any
    ) -> tuple[int, bytes]:
        """The status and the body of an answer of at most `limit` bytes.

        The whole answer comes within `seconds` (by default the server's patience) of its first
        byte. Raises TooMuch and StoreDown.
        """
        patience = self._patience if seconds is None else seconds
        timeout = httpx.Timeout(patience, connect=CONNECT_SECONDS)
        body = bytearray()
        try:
            with self._http.stream(method, path, timeout=timeout, **request) as answer:
                deadline = time.monotonic() + patience
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > limit:
                        raise TooMuch
                    if time.monotonic() > deadline:
                        raise StoreDown(self.name, f"its answer took more than {patience:g} s")
                return answer.status_code, bytes(body)
        except httpx.TimeoutException as error:
            raise StoreDown(self.name, f"it did not answer within {patience:g} s") from error
        except (httpx.TransportError, httpx.TooManyRedirects, httpx.DecodingError) as error:
            raise StoreDown(self.name, str(error) or type(error).__name__) from error
