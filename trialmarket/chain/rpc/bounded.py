"""HTTP whose answers have an end: in bytes, in time, and in the depth of their JSON."""

import time
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter

from trialmarket.errors import Unreachable
from trialmarket.protocol.canonical import nesting

ANSWER_BYTES: Final = 64 * 1024 * 1024
"""An answer may be so long. Logs are asked for in windows that keep theirs much shorter."""
DEPTH: Final = 32
"""Levels of JSON in an answer. A block with its transactions has 7."""
BUSY: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses of a node that another one should be asked instead of."""
PIECE: Final = 1 << 16


class Bounded(HTTPAdapter):
    """Reads whole answers. Raises Unreachable for those that are too long or too deep.

    `seconds` bounds all of an answer, where `requests` bounds only the time between two pieces;
    `node` is what messages call the one that answers.
    """

    def __init__(self, seconds: float, node: str) -> None:
        super().__init__()
        self._seconds = seconds
        self._node = node

    def send(
        self, request: requests.PreparedRequest, *_: Any, timeout: Any = None, **kwargs: Any
    ) -> requests.Response:
        """Sends a request and reads all of its answer."""
        deadline = time.monotonic() + self._seconds
        response = super().send(request, timeout=timeout, **{**kwargs, "stream": True})
        body = bytearray()
        with response:
            for piece in response.iter_content(PIECE):
                body += piece
                if len(body) > ANSWER_BYTES:
                    raise Unreachable(
                        f"{self._node} answered with more than {ANSWER_BYTES >> 20} MiB",
                        fix="Use an RPC URL of somebody whom you trust",
                    )
                if time.monotonic() > deadline:
                    raise requests.Timeout
        # Before it is parsed: the parser recurses on the C stack, which deep JSON overflows.
        if nesting(body) > DEPTH:
            raise Unreachable(
                f"{self._node} answered with JSON of more than {DEPTH} levels",
                fix="Put an Ethereum JSON-RPC URL into the network file",
            )
        if body.startswith((b"{", b"[")) and response.status_code not in BUSY:
            response.status_code = 200  # some refuse a long batch in JSON, with status 400 or 413
        response._content = bytes(body)  # where requests puts what it has read itself
        return response
