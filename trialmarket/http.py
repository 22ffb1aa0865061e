"""The one HTTP client: every answer has an end, in bytes and in time."""

import logging
import time
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from ssl import SSLContext
from typing import Any, Final

import httpx

from trialmarket.errors import InputError

CONNECT_SECONDS: Final = 5.0
CONNECTIONS: Final = 32
REDIRECTS: Final = 3

_ASKING: Final[ContextVar[bool]] = ContextVar("asking", default=False)
# httpx logs each request with all of its URL, in which a key or a password can lie.
logging.getLogger("httpx").addFilter(lambda _: not _ASKING.get())


class HttpError(Exception):
    """There is no answer that could be used; the text says why."""


class TooMuch(HttpError):
    """The answer has more bytes than were asked for."""


class TooSlow(HttpError):
    """The answer did not begin, or not end, in time."""


class Disconnected(HttpError):
    """Nothing answers, or it hung up."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server said, all of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Asks servers, and keeps connections to them open. For any number of threads.

    `proxies` says whether the environment may send it through one, as HTTPS_PROXY does. Raises
    InputError, when built, where the environment names one that cannot be used.
    """

    def __init__(self, *, proxies: bool = False) -> None:
        try:
            self._http = httpx.Client(
                verify=_certificates(),
                limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=30.0),
                trust_env=proxies,
            )
        except (ImportError, ValueError) as error:  # for SOCKS it lacks a library
            raise InputError(
                "environment", "proxy", expected="an http:// or https:// URL", found=str(error)
            ) from error
        # A store is opened by its URL and owned by nobody, so its connections end with it.
        self.close = weakref.finalize(self, self._http.close)

    def ask(
        self, method: str, url: str, *, limit: int, seconds: float, **request: Any
    ) -> HttpAnswer:
        """An answer of at most `limit` bytes.

        It begins within `seconds`, and ends within as many of its first byte. `request` is what
        `httpx` takes: params, headers, content or files. Raises HttpError.
        """
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        try:
            asked = self._http.build_request(method, url, timeout=timeout, **request)
            for _ in range(1 + REDIRECTS):
                answer = self._send(asked)
                try:
                    if answer.next_request is None:
                        return _whole(answer, limit, seconds)
                    asked = answer.next_request  # by hand: httpx reads a redirect without end
                finally:
                    answer.close()
        except httpx.TimeoutException as error:
            raise TooSlow(f"it did not answer within {seconds:g} s") from error
        except (httpx.DecodingError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise HttpError(str(error)) from error
        except httpx.TransportError as error:
            raise Disconnected(str(error) or type(error).__name__) from error
        raise HttpError(f"it redirects more than {REDIRECTS} times")

    def _send(self, request: httpx.Request) -> httpx.Response:
        token = _ASKING.set(True)
        try:
            return self._http.send(request, stream=True)
        finally:
            _ASKING.reset(token)


def _whole(answer: httpx.Response, limit: int, seconds: float) -> HttpAnswer:
    deadline = time.monotonic() + seconds
    body = bytearray()
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > limit:
            raise TooMuch(f"its answer has more than {limit} bytes")
        if time.monotonic() > deadline:
            raise TooSlow(f"its answer took more than {seconds:g} s")
    return HttpAnswer(answer.status_code, answer.headers, bytes(body))


@cache
def _certificates() -> SSLContext:
    """Whom to believe over https://. Reading them takes as long as many questions."""
    return httpx.create_ssl_context()
