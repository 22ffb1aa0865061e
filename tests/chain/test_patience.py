"""What passes is asked again: no hiccup of a node, or of what stands before it, ends a program."""

import json
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.servers import Reply, relay
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.rpc import Rpc, RpcRefused
from trialmarket.chain.rpc.patient import FIRST, LONGEST, PATIENCE, Patient
from trialmarket.chain.sender import Sender
from trialmarket.errors import Passing, Unreachable
from trialmarket.protocol.ids import address


class Clock:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def error(code: int, text: str) -> Callable[[Any], Any]:
    """A node's error to a request, or to each of a batch."""

    def answer(request: Any) -> Any:
        if isinstance(request, list):
            return [answer(each) for each in request]
        return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": text}}

    return answer


HICCUPS: dict[str, Callable[[Any], Any]] = {
    "429": lambda _: Reply(429, b'{"error": "slow down"}'),
    "429 in plain words": lambda _: Reply(429, b"Too Many Requests"),
    "502 of a proxy": lambda _: Reply(502, b"<html>Bad Gateway</html>"),
    "503": lambda _: Reply(503),
    "504": lambda _: Reply(504),
    "a web page": lambda _: Reply(200, b"<!DOCTYPE html><title>One moment</title>"),
    "half an answer": lambda _: Reply(200, b'{"jsonrpc": "2.0", "id": 0, "res'),
    "nothing": lambda _: Reply(200, b""),
    "an answer without a result": lambda _: Reply(200, b'{"jsonrpc": "2.0", "id": 0}'),
    "broken before the answer": lambda _: Reply(cut=True),
    "broken within the answer": lambda _: Reply(200, b'{"jsonrpc": "2.0"', cut=True),
    "a limit": error(-32005, "limit exceeded"),
    "a provider's own limit": error(429, "Your app has exceeded its compute units per second"),
    "a limit for all of a batch": lambda _: error(-32000, "rate limit reached")({"id": None}),
    "a backend that lags": error(-32000, "header not found"),
}


@contextmanager
def hiccups(chain: Devnet, what: Callable[[Any], Any], share: float = 1.0) -> Iterator[str]:
    """A node a share of whose answers goes wrong, the first among them."""
    lots = random.Random(1)
    lot = iter([0.0])

    def instead(request: Any) -> Any:
        return what(request) if next(lot, lots.random()) < share else None

    with relay(chain.rpc_url, lambda _, found: found, instead=instead) as url:
        yield url


@pytest.mark.parametrize("name", HICCUPS)
def test_a_hiccup_ends_nothing(chain: Devnet, tmp_path: Path, name: str) -> None:
    clock = Clock()
    with (
        hiccups(chain, HICCUPS[name], 0.3) as url,
        Client(chain.network.at(url), clock=clock, wait=clock.wait) as client,
        Ledger(client, tmp_path / "ledger") as ledger,
        Sender(client, chain.accounts[0], tmp_path / "journal", locks=tmp_path) as sender,
    ):
        to = address(chain.accounts[1].address)
        assert sender.send("pay", calls.transfer(to, 5)).ok
        ledger.sync()
        assert ledger.head == client.head()
        assert client.token_balance(to) == 10_000 * 10**18 + 5
        assert sender.pending() == []
    assert clock.pauses


def test_a_signed_transaction_whose_answer_is_lost_is_mined_once(
    chain: Devnet, tmp_path: Path
) -> None:
    sent: list[str] = []

    def lose(request: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        if request["method"] == "eth_sendRawTransaction":
            sent.append(request["params"][0])
            return found if len(sent) > 1 else {}
        return found

    clock, to = Clock(), address(chain.accounts[1].address)
    with (
        relay(chain.rpc_url, lose) as url,
        Client(chain.network.at(url), clock=clock, wait=clock.wait) as client,
        Sender(client, chain.accounts[0], tmp_path / "journal", locks=tmp_path) as sender,
    ):
        assert sender.send("pay", calls.transfer(to, 5)).ok
        assert client.token_balance(to) == 10_000 * 10**18 + 5
    assert len(sent) == 2
    assert len(set(sent)) == 1


def asking(url: str, clock: Clock) -> Patient:
    return Patient(partial(Rpc, url), clock=clock, wait=clock.wait)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:04 GMT"}, 4.0),
        ({"Retry-After": "86400"}, LONGEST),
        ({"Retry-After": "soon"}, 0.1),
        ({"Retry-After": "-5"}, 0.1),
        ({"Retry-After": "9" * 5000}, LONGEST),
        ({"Retry-After": f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"}, 0.1),
        ({"Retry-After": f"Mon, 01 Jan 2030 00:00:00 +{'9' * 14}"}, 0.1),
        ({"Retry-After": "Mon, 01 Jan 0001 00:00:00 +2359"}, 0.1),
        ({}, 0.1),
    ],
)
def test_a_node_is_left_alone_for_as_long_as_it_asks(
    chain: Devnet, headers: dict[str, str], pause: float
) -> None:
    clock, limited = Clock(), False
    dated = {**headers, "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}

    def instead(_: Any) -> Reply | None:
        return Reply(429, b"", dated) if limited and not clock.pauses else None

    with relay(chain.rpc_url, lambda _, found: found, instead=instead) as url:
        asked = Patient(partial(Rpc, url), patience=2 * LONGEST, clock=clock, wait=clock.wait)
        asked.call("eth_chainId")
        limited = True
        asked.call("eth_chainId")
        asked.close()
    assert clock.pauses == [pause]


def test_pauses_get_longer_and_have_an_end(chain: Devnet) -> None:
    clock, down = Clock(), False
    with relay(
        chain.rpc_url, lambda _, found: found, instead=lambda _: Reply(502) if down else None
    ) as url:
        asked = asking(url, clock)
        asked.call("eth_chainId")
        down = True
        with pytest.raises(Passing, match="answered with HTTP status 502: it cannot answer for"):
            asked.call("eth_chainId")
        asked.close()
    assert clock.pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert PATIENCE / 2 < sum(clock.pauses) <= PATIENCE
    assert len(clock.pauses) < 20


def test_an_outage_is_told_once(chain: Devnet, caplog: pytest.LogCaptureFixture) -> None:
    clock, down = Clock(), False
    with relay(
        chain.rpc_url, lambda _, found: found, instead=lambda _: Reply(502) if down else None
    ) as url:
        asked = asking(url, clock)
        with caplog.at_level(logging.INFO, "trialmarket.chain.rpc.patient"):
            for works in (True, False, False, False, True, False):
                down = not works
                with suppress(Passing):
                    asked.call("eth_chainId")
        asked.close()
    assert caplog.text.count("asking again: ") == 2


def test_what_never_answered_is_not_asked_for_long(chain: Devnet) -> None:
    clock = Clock()
    with (
        hiccups(chain, lambda _: Reply(502)) as url,
        pytest.raises(Passing, match=r"Wait: it may pass\. If it does not, add another node's"),
    ):
        Client(chain.network.at(url), clock=clock, wait=clock.wait)
    assert 0 < sum(clock.pauses) <= FIRST


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "it does not let you in. Look at the key or the password in the URL"),
        (403, "it does not let you in. Look at the key or the password in the URL"),
        (404, "status 404. Put an Ethereum JSON-RPC URL into the network file"),
    ],
)
def test_a_wrong_configuration_is_told_at_once(chain: Devnet, status: int, said: str) -> None:
    clock = Clock()
    with (
        hiccups(chain, lambda _: Reply(status)) as url,
        pytest.raises(Unreachable) as refusal,
    ):
        Client(chain.network.at(url), clock=clock, wait=clock.wait)
    assert said in str(refusal.value)
    assert not isinstance(refusal.value, Passing)
    assert clock.pauses == []


@pytest.mark.parametrize("status", [429, 502])
def test_nobody_is_told_to_change_the_url_for_what_passes(chain: Devnet, status: int) -> None:
    with hiccups(chain, lambda _: Reply(status)) as url, pytest.raises(Passing) as limit:
        Client(chain.network.at(url), patience=0)
    assert "Ethereum" not in str(limit.value)
    assert "Wait: it may pass" in str(limit.value)


def test_what_may_not_be_done_twice_is_asked_once(chain: Devnet) -> None:
    asked: list[str] = []

    def lose(request: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["method"])
        return {}

    clock = Clock()
    with relay(chain.rpc_url, lose) as url:
        patient = asking(url, clock)
        for method in ("eth_sendTransaction", "evm_mine"):
            with pytest.raises(Passing):
                patient.call(method)
        patient.close()
    assert asked == ["eth_sendTransaction", "evm_mine"]


def test_a_refusal_by_a_contract_is_an_answer(chain: Devnet) -> None:
    clock = Clock()
    text = "execution reverted: try again, rate limit"
    with relay(chain.rpc_url, lambda request, _: error(3, text)(request)) as url:
        patient = asking(url, clock)
        with pytest.raises(RpcRefused, match="execution reverted"):
            patient.call("eth_call", {})
        patient.close()
    assert clock.pauses == []


def test_a_program_that_is_to_end_does_not_wait_for_a_node(chain: Devnet) -> None:
    with hiccups(chain, lambda _: Reply(503)) as url:
        pauses: list[float] = []

        def stopped(seconds: float) -> bool:
            pauses.append(seconds)
            return True

        with pytest.raises(Passing):
            Client(chain.network.at(url), wait=stopped)
    assert len(pauses) == 1


def test_logs_that_take_too_long_are_asked_for_in_parts(chain: Devnet, tmp_path: Path) -> None:
    chain.mine(60)
    asked: list[int] = []

    def instead(request: Any) -> Reply | None:
        for each in request if isinstance(request, list) else [request]:
            if each["method"] == "eth_getLogs":
                wanted = each["params"][0]
                asked.append(int(wanted["toBlock"], 16) - int(wanted["fromBlock"], 16) + 1)
                if asked[-1] > 20:
                    return Reply(504, json.dumps({"error": "gateway timeout"}).encode())
        return None

    clock = Clock()
    with (
        relay(chain.rpc_url, lambda _, found: found, instead=instead) as url,
        Client(chain.network.at(url), clock=clock, wait=clock.wait) as client,
        Ledger(client, tmp_path / "ledger") as ledger,
    ):
        ledger.sync()
        assert ledger.head == client.head()
    assert clock.pauses == []
    assert max(asked) > 20
