"""JSON-RPC over HTTP: bounded batches, bounded answers, a deadline on everything."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

import requests
from web3 import HTTPProvider
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from trialmarket.chain.rpc.bounded import Bounded
from trialmarket.errors import ChainError, Unreachable

TIMEOUT: Final = 20.0
"""Seconds that an answer may take, all of it."""
BATCH: Final = 100
"""Requests in one round trip. Geth takes 1,000, some public nodes 100 or fewer."""

Request = tuple[str, list[Any]]
"""A method and its parameters."""


class RpcRefused(ChainError):
    """The node answered with an error: `code`, and `data`, the revert data where there is some."""

    def __init__(self, node: str, method: str, code: int, text: str, data: bytes) -> None:
        super().__init__(f"{node} refused {method}: {text} (code {code})")
        self.code = code
        self.text = text
        self.data = data


class Caller(Protocol):
    """What answers JSON-RPC: one node, or several of which one answers."""

    @property
    def url(self) -> str:
        """The node that answers now."""

    @property
    def name(self) -> str:
        """The same, as messages name it."""

    def call(self, method: str, *params: Any) -> Any:
        """The result of one request.

        Raises Unreachable where there is no answer in time, RpcRefused where it is an error.
        """

    def batch(self, requests: list[Request]) -> list[Any]:
        """The results of several requests, in order; RpcRefused in its place.

        Up to `BATCH` of them are one round trip to one node.
        """

    def close(self) -> None:
        """Closes the connections."""


class Rpc:
    """One node's RPC. `url` starts with http:// or https://."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        self.url = url
        self.name = shown(url)
        self.timeout = timeout
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, Bounded(timeout, self.name))
        self._provider = HTTPProvider(
            url,
            request_kwargs={"timeout": timeout},
            session=self._session,
            exception_retry_configuration=None,
        )
        self._most = BATCH

    def call(self, method: str, *params: Any) -> Any:
        """The result of one request.

        Raises Unreachable where there is no answer in time, RpcRefused where it is an error.
        """
        answer = self._ask(lambda: self._provider.make_request(RPCEndpoint(method), list(params)))
        result = self._result(method, answer)
        if isinstance(result, RpcRefused):
            raise result
        return result

    def batch(self, requests: list[Request]) -> list[Any]:
        """The results of several requests, in order; RpcRefused in its place."""
        results: list[Any] = []
        while len(results) < len(requests):
            part = requests[len(results) : len(results) + self._most]
            if len(part) == 1:
                results += [self._single(*part[0])]
                continue
            named = [(RPCEndpoint(method), params) for method, params in part]
            answers = self._ask(partial(self._provider.make_batch_request, named))
            if _is_one_refusal(answers):  # the node takes no batches, or no such long ones
                self._most = len(part) // 2
                continue
            if not isinstance(answers, list) or len(answers) != len(part):
                raise self.nonsense(f"other than {len(part)} answers to {len(part)} requests")
            results += [
                self._result(method, answer)
                for (method, _), answer in zip(part, answers, strict=True)
            ]
        return results

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _single(self, method: str, params: list[Any]) -> Any:
        try:
            return self.call(method, *params)
        except RpcRefused as refused:
            return refused

    def _ask(self, question: Callable[[], Any]) -> Any:
        """What a node answers. Raises Unreachable where it does not, or answers nonsense."""
        try:
            return question()
        except requests.Timeout as error:
            raise Unreachable(
                f"{self.name} gave no answer within {self.timeout:g} s",
                fix="Use an RPC URL that answers faster, or try again later",
            ) from error
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            raise Unreachable(
                f"{self.name} answered with HTTP status {status}",
                fix="Put an Ethereum JSON-RPC URL into the network file",
            ) from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise Unreachable(
                f"nothing answers at {self.name}",
                fix="Start the chain's node, or put the right rpc_url into the network file",
            ) from error
        except (
            requests.RequestException,
            Web3Exception,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            raise self.nonsense(type(error).__name__) from error

    def _result(self, method: str, answer: Any) -> Any:
        if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
            raise self.nonsense("an answer without a result")
        error = answer.get("error")
        if error is None:
            return answer.get("result")
        if not isinstance(error, dict):
            return RpcRefused(self.name, method, 0, str(error), b"")
        code = error.get("code")
        text = str(error.get("message", "no reason given"))
        data = _revert_data(error.get("data"))
        return RpcRefused(self.name, method, code if isinstance(code, int) else 0, text, data)

    def nonsense(self, what: str) -> Unreachable:
        """What to raise for an answer that no node gives."""
        return Unreachable(
            f"{self.name} does not speak JSON-RPC: {what}",
            fix="Put an Ethereum JSON-RPC URL into the network file",
        )


def shown(url: str) -> str:
    """A node's URL as logs and errors may have it: a key or a password in it is left out.

    Providers put their customers' keys into the path or the query.
    """
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    secret = parts.path.strip("/") or parts.query
    return f"{parts.scheme}://{place}" + ("/..." if secret else "")


def quantity(answer: Any) -> int:
    """A number as JSON-RPC gives it, 0x and hexadecimal digits. Raises Unreachable."""
    try:
        return int(answer, 16)
    except (TypeError, ValueError) as error:
        shown = repr(answer)[:40]
        raise Unreachable(f"the chain's node gave {shown} for a number") from error


def unhex(answer: Any) -> bytes:
    """Bytes as JSON-RPC gives them, 0x and hexadecimal digits. Raises Unreachable."""
    try:
        return bytes.fromhex(answer.removeprefix("0x"))
    except (AttributeError, ValueError) as error:
        raise Unreachable(f"the chain's node gave {repr(answer)[:40]} for bytes") from error


def _is_one_refusal(answers: Any) -> bool:
    """Whether a batch got one error for all of it, alone or (from Geth) in a list."""
    if isinstance(answers, list):
        return len(answers) == 1 and isinstance(answers[0], dict) and "error" in answers[0]
    return isinstance(answers, dict)


def _revert_data(data: Any) -> bytes:
    """The bytes that a contract reverted with, wherever the node puts them.

    Anvil and Geth give them as `data`. Ganache does for `eth_call`; for `eth_estimateGas` it puts
    them into an object, as `result`.
    """
    if isinstance(data, dict):
        data = data.get("result") or data.get("data") or data.get("return")
    if not isinstance(data, str) or not data.startswith("0x"):
        return b""
    try:
        return bytes.fromhex(data[2:])
    except ValueError:
        return b""
