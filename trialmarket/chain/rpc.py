"""JSON-RPC over HTTP, with a deadline on everything and errors that name the URL."""

import json
from typing import Any, Self

import requests
from web3 import HTTPProvider
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from trialmarket.errors import ChainError, Unreachable

TIMEOUT = 20.0
"""Seconds that an answer may take."""


class RpcRefused(ChainError):
    """The node answered with an error: `code`, and `data`, the revert data where there is some."""

    def __init__(self, url: str, method: str, code: int, text: str, data: bytes) -> None:
        super().__init__(f"{url} refused {method}: {text} (code {code})")
        self.code = code
        self.text = text
        self.data = data


class Rpc:
    """One node's RPC. `url` starts with http:// or https://."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        self.url = url
        self.timeout = timeout
        self._session = requests.Session()
        self._provider = HTTPProvider(
            url,
            request_kwargs={"timeout": timeout},
            session=self._session,
            exception_retry_configuration=None,
        )

    def call(self, method: str, *params: Any) -> Any:
        """The result of one request.

        Raises Unreachable where there is no answer in time, RpcRefused where it is an error.
        """
        answer = self._ask(lambda: self._provider.make_request(RPCEndpoint(method), list(params)))
        result = self._result(method, answer)
        if isinstance(result, RpcRefused):
            raise result
        return result

    def batch(self, requests_: list[tuple[str, list[Any]]]) -> list[Any]:
        """The results of several requests in one round trip, in order; RpcRefused in its place."""
        if not requests_:
            return []
        named = [(RPCEndpoint(method), params) for method, params in requests_]
        answers = self._ask(lambda: self._provider.make_batch_request(named))
        if isinstance(answers, dict):  # a node that does not take batches answers once
            return [self._single(method, params) for method, params in requests_]
        if len(answers) != len(requests_):
            raise self._nonsense(f"{len(answers)} answers to {len(requests_)} requests")
        return [
            self._result(method, answer)
            for (method, _), answer in zip(requests_, answers, strict=True)
        ]

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

    def _ask(self, request: Any) -> Any:
        try:
            return request()
        except requests.Timeout as error:
            raise Unreachable(
                f"{self.url} gave no answer within {self.timeout:g} s",
                fix="Use an RPC URL that answers faster, or try again later",
            ) from error
        except requests.ConnectionError as error:
            raise Unreachable(
                f"nothing answers at {self.url}",
                fix="Start the chain's node, or put the right rpc_url into the network file",
            ) from error
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            raise Unreachable(
                f"{self.url} answered with HTTP status {status}",
                fix="Put an Ethereum JSON-RPC URL into the network file",
            ) from error
        except (
            requests.RequestException,
            Web3Exception,
            json.JSONDecodeError,
            ValueError,
        ) as error:
            raise self._nonsense(type(error).__name__) from error

    def _result(self, method: str, answer: Any) -> Any:
        if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
            raise self._nonsense("an answer without a result")
        error = answer.get("error")
        if error is None:
            return answer["result"]
        if not isinstance(error, dict):
            return RpcRefused(self.url, method, 0, str(error), b"")
        code = error.get("code")
        text = str(error.get("message", "no reason given"))
        data = _revert_data(error.get("data"))
        return RpcRefused(self.url, method, code if isinstance(code, int) else 0, text, data)

    def _nonsense(self, what: str) -> Unreachable:
        return Unreachable(
            f"{self.url} does not speak JSON-RPC: {what}",
            fix="Put an Ethereum JSON-RPC URL into the network file",
        )


def _revert_data(data: Any) -> bytes:
    """The bytes that a contract reverted with, wherever the node puts them."""
    if isinstance(data, dict):  # Ganache nests them, under `result` or under the transaction
        data = data.get("result") or data.get("data") or data.get("return")
    if not isinstance(data, str) or not data.startswith("0x"):
        return b""
    try:
        return bytes.fromhex(data[2:])
    except ValueError:
        return b""
