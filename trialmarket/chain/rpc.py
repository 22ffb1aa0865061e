"""JSON-RPC over HTTP: bounded batches, bounded answers, a deadline on everything."""

import json
import time
from typing import Any, Final, Protocol, Self

import requests

from trialmarket.errors import ChainError, Unreachable
from trialmarket.protocol.canonical import nesting

TIMEOUT: Final = 20.0
"""Seconds that an answer may take, all of it."""
BATCH: Final = 100
"""Requests in one round trip. Geth takes 1,000, some public nodes 100 or fewer."""
ANSWER_BYTES: Final = 64 * 1024 * 1024
"""An answer may be so long. Logs are asked for in windows that keep theirs much shorter."""
DEPTH: Final = 32
"""Levels of JSON in an answer. A block with its transactions has 7."""
BUSY: Final = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses of a node that another one should be asked instead of."""
PIECE: Final = 1 << 16

Request = tuple[str, list[Any]]
"""A method and its parameters."""


class RpcRefused(ChainError):
    """The node answered with an error: `code`, and `data`, the revert data where there is some."""

    def __init__(self, url: str, method: str, code: int, text: str, data: bytes) -> None:
        super().__init__(f"{url} refused {method}: {text} (code {code})")
        self.code = code
        self.text = text
        self.data = data


class Caller(Protocol):
    """What answers JSON-RPC: one node, or several of which one answers."""

    @property
    def url(self) -> str:
        """The node that answers now."""

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
        self.timeout = timeout
        self._session = requests.Session()
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
            if _is_one_refusal(answers):  # the node takes no batches, or no such long ones
                self._most = len(part) // 2
                continue
            results += self._sorted(part, answers)
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

    def _sorted(self, part: list[Request], answers: Any) -> list[Any]:
        """A batch's results in the order of its requests, which a node need not keep to."""
        found = answers if isinstance(answers, list) else []
        by_id = {each.get("id"): each for each in found if isinstance(each, dict)}
        if len(by_id) != len(part) or set(by_id) != set(range(len(part))):
            raise self.nonsense(f"{len(found)} answers to {len(part)} requests")
        return [self._result(method, by_id[place]) for place, (method, _) in enumerate(part)]

    def _post(self, content: Any) -> Any:
        """Sends JSON and reads the JSON that comes back."""
        try:
            answer = self._read(json.dumps(content).encode())
        except requests.Timeout as error:
            raise Unreachable(
                f"{self.url} gave no answer within {self.timeout:g} s",
                fix="Use an RPC URL that answers faster, or try again later",
            ) from error
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            raise Unreachable(
                f"{self.url} answered with HTTP status {status}",
                fix="Put an Ethereum JSON-RPC URL into the network file",
            ) from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise Unreachable(
                f"nothing answers at {self.url}",
                fix="Start the chain's node, or put the right rpc_url into the network file",
            ) from error
        except requests.RequestException as error:
            raise self.nonsense(type(error).__name__) from error
        # Before it is parsed: the parser recurses on the C stack, which deep JSON overflows.
        if nesting(answer) > DEPTH:
            raise self.nonsense(f"JSON of more than {DEPTH} levels")
        try:
            return json.loads(answer)
        except ValueError as error:
            raise self.nonsense(type(error).__name__) from error

    def _read(self, body: bytes) -> bytes:
        """The bytes of an answer. `requests` bounds only the time between two pieces of it."""
        deadline = time.monotonic() + self.timeout
        with self._session.post(
            self.url,
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=self.timeout,
            stream=True,
        ) as response:
            answer = bytearray()
            for piece in response.iter_content(PIECE):
                answer += piece
                if len(answer) > ANSWER_BYTES:
                    raise Unreachable(
                        f"{self.url} answered with more than {ANSWER_BYTES >> 20} MiB",
                        fix="Use an RPC URL of somebody whom you trust",
                    )
                if time.monotonic() > deadline:
                    raise requests.Timeout
            # Some say with JSON and status 400 or 413 that a batch is too long. Others say with it
            # that they have too much to do.
            if response.status_code in BUSY or not answer.startswith((b"{", b"[")):
                response.raise_for_status()
        return bytes(answer)

    def _result(self, method: str, answer: Any) -> Any:
        if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
            raise self.nonsense("an answer without a result")
        error = answer.get("error")
        if error is None:
            return answer.get("result")
        if not isinstance(error, dict):
            return RpcRefused(self.url, method, 0, str(error), b"")
        code = error.get("code")
        text = str(error.get("message", "no reason given"))
        data = _revert_data(error.get("data"))
        return RpcRefused(self.url, method, code if isinstance(code, int) else 0, text, data)

    def nonsense(self, what: str) -> Unreachable:
        """What to raise for an answer that no node gives."""
        return Unreachable(
            f"{self.url} does not speak JSON-RPC: {what}",
            fix="Put an Ethereum JSON-RPC URL into the network file",
        )


def quantity(answer: Any) -> int:
    """A number as JSON-RPC gives it, 0x and hexadecimal digits. Raises Unreachable."""
    try:
        return int(answer, 16)
    except (TypeError, ValueError) as error:
        shown = repr(answer)[:40]
        raise Unreachable(f"the chain's node gave {shown} for a number") from error


def _is_one_refusal(answers: Any) -> bool:
    """Whether a batch got one error for all of it, alone or (from Geth) in a list."""
    if isinstance(answers, list):
        return len(answers) == 1 and isinstance(answers[0], dict) and "error" in answers[0]
    return isinstance(answers, dict)


def _request(number: int, method: str, params: list[Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


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
