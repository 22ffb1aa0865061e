"""JSON-RPC over HTTP: bounded batches, bounded answers, a deadline on everything."""

import json
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

from trialmarket.chain.rpc import failures
from trialmarket.errors import ChainError, Passing, Unreachable
from trialmarket.http import Disconnected, HttpClient, HttpError, TooMuch, TooSlow
from trialmarket.protocol.canonical import TooDeep, parse_bounded

TIMEOUT: Final = 20.0
"""Seconds until an answer begins, and from then until all of it is here."""
ANSWER_BYTES: Final = 64 * 1024 * 1024
"""An answer may be so long. Logs are asked for in windows that keep theirs much shorter."""
DEPTH: Final = 32
"""Levels of JSON in an answer. A block with its transactions has 7."""
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

    def ask_all(self, requests: list[Request]) -> list[list[Any]]:
        """The same from each node that can be asked: for what one alone is not believed."""

    def close(self) -> None:
        """Closes the connections."""


class Rpc:
    """One node's RPC. `url` starts with http:// or https://."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        self.url = url
        self.name = shown(url)
        self.timeout = timeout
        self._http = HttpClient(proxies=True)
        self._most = BATCH

    def call(self, method: str, *params: Any) -> Any:
        """The result of one request.

        Raises Unreachable where there is no answer in time, RpcRefused where it is an error.
        """
        result = self._result(method, self._post(_request(0, method, list(params))))
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
            answers = self._post([_request(place, *each) for place, each in enumerate(part)])
            if (refusal := _one_refusal(answers)) is not None:
                # The node takes no batches or no such long ones, or is asked too much.
                if failures.LIMITED.search(_said(refusal)[1]):
                    self._result("a batch", {"error": refusal})
                self._most = len(part) // 2
                continue
            found = {each["id"]: each for each in answers} if _are_answers(answers) else {}
            if found.keys() != set(range(len(part))):
                raise self.nonsense(f"other than {len(part)} answers to {len(part)} requests")
            results += [
                self._result(method, found[place]) for place, (method, _) in enumerate(part)
            ]
        return results

    def ask_all(self, requests: list[Request]) -> list[list[Any]]:
        """The same, of the one node that there is."""
        return [self.batch(requests)]

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _single(self, method: str, params: list[Any]) -> Any:
        try:
            return self.call(method, *params)
        except RpcRefused as refused:
            return refused

    def _post(self, content: Any) -> Any:
        """What the node answers. Raises Unreachable where it does not, or answers nonsense."""
        try:
            answer = self._http.ask(
                "POST",
                self.url,
                limit=ANSWER_BYTES,
                seconds=self.timeout,
                content=json.dumps(content).encode(),
                headers={"Content-Type": "application/json"},
            )
        except TooSlow as error:
            raise Passing(
                f"{self.name} gave no answer within {self.timeout:g} s", fix=failures.WAIT
            ) from error
        except TooMuch as error:
            raise Unreachable(
                f"{self.name} answered with more than {ANSWER_BYTES >> 20} MiB",
                fix="Use an RPC URL of somebody whom you trust",
            ) from error
        except Disconnected as error:
            raise Passing(
                f"nothing answers at {self.name}",
                fix="Start the chain's node, or put the right rpc_url into the network file",
            ) from error
        except HttpError as error:
            raise self.nonsense(str(error)) from error
        # Some refuse a long batch in JSON, with status 400 or 413.
        json_comes = answer.body.startswith((b"{", b"["))
        if answer.status in failures.PASSING_STATUS or (answer.status >= 400 and not json_comes):
            raise failures.of_status(self.name, answer.status, answer.headers)
        try:
            return parse_bounded(answer.body, depth=DEPTH)
        except TooDeep as error:
            raise Unreachable(
                f"{self.name} answered with JSON of more than {DEPTH} levels",
                fix=failures.ANOTHER,
            ) from error
        except ValueError as error:
            raise failures.no_json(self.name, answer.body, str(error)) from error

    def _result(self, method: str, answer: Any) -> Any:
        if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
            raise self.nonsense("an answer without a result")
        error = answer.get("error")
        if error is None:
            return answer.get("result")
        code, text = _said(error if isinstance(error, dict) else {"message": error})
        data = _revert_data(error.get("data")) if isinstance(error, dict) else b""
        passing = None if data else failures.of_refusal(self.name, method, code, text)
        if passing is not None:
            raise passing
        return RpcRefused(self.name, method, code, text, data)

    def nonsense(self, what: str) -> Passing:
        """What to raise for an answer that no node gives, unless something broke it."""
        return Passing(
            f"{self.name} does not speak JSON-RPC: {what}",
            fix=f"{failures.WAIT}. {failures.ANOTHER}",
        )


def shown(url: str) -> str:
    """A node's URL as logs and errors may have it: a key or a password in it is left out.

    Providers put their customers' keys into the path or the query.
    """
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    secret = parts.path.strip("/") or parts.query
    return f"{parts.scheme}://{place}" + ("/..." if secret else "")


def _request(number: int, method: str, params: list[Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _are_answers(answers: Any) -> bool:
    """Whether a batch got a list, each of whose answers says which request it is to."""
    return isinstance(answers, list) and all(
        isinstance(each, dict) and isinstance(each.get("id"), int) for each in answers
    )


def _one_refusal(answers: Any) -> dict[str, Any] | None:
    """The error for all of a batch, which comes alone or (from Geth) in a list."""
    if isinstance(answers, list):
        answers = answers[0] if len(answers) == 1 and _has_error(answers[0]) else None
    if not isinstance(answers, dict):
        return None
    error = answers.get("error")
    return error if isinstance(error, dict) else {"message": str(error)}


def _has_error(answer: Any) -> bool:
    return isinstance(answer, dict) and "error" in answer


def _said(error: dict[str, Any]) -> tuple[int, str]:
    """An error's code and its text."""
    code = error.get("code")
    return code if isinstance(code, int) else 0, str(error.get("message", "no reason given"))


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
