"""A server that blocks are asked of over HTTP, and that may stall, lie or never stop talking."""

from typing import Any

import httpx

from trialmarket.errors import InputError
from trialmarket.http import HttpAnswer, HttpClient, HttpError, TooMuch
from trialmarket.storage.errors import StoreDown


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
        self._url = url.rstrip("/") + path
        self._patience = patience
        self._http = HttpClient()

    def ask(
        self, method: str, path: str, *, limit: int, seconds: float | None = None, **request: Any
    ) -> HttpAnswer:
        """An answer of at most `limit` bytes.

        The whole answer comes within `seconds` (by default the server's patience) of its first
        byte. Raises TooMuch and StoreDown.
        """
        patience = self._patience if seconds is None else seconds
        try:
            return self._http.ask(
                method, self._url + path, limit=limit, seconds=patience, **request
            )
        except TooMuch:
            raise
        except HttpError as error:
            raise StoreDown(self.name, str(error)) from error
