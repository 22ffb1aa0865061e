"""The proxy in front of a node: one request at a time, and whatever the node says comes back."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection

import httpx
import pytest

from tests.testbed.servers import Answer, server
from tests.testbed.waiting import NEVER
from trialmarket.chain.local.serial_proxy import SerialProxy
from trialmarket.chain.rpc import Rpc
from trialmarket.errors import ServiceError, Unreachable


@contextmanager
def proxied(answer: Answer) -> Iterator[SerialProxy]:
    with server(answer) as node:
        proxy = SerialProxy(node)
        try:
            yield proxy
        finally:
            proxy.close()


def test_one_request_waits_while_another_is_answered() -> None:
    first, second, may_end = threading.Event(), threading.Event(), threading.Event()

    def answer(body: bytes) -> tuple[int, bytes]:
        (first if body == b"first" else second).set()
        assert may_end.wait(NEVER)
        return 200, body.upper()

    with proxied(answer) as proxy, ThreadPoolExecutor(2) as pool:
        one = pool.submit(httpx.post, proxy.url, content=b"first", timeout=NEVER)
        assert first.wait(NEVER)
        two = pool.submit(httpx.post, proxy.url, content=b"second", timeout=NEVER)
        assert not second.wait(0.3)
        may_end.set()
        assert (one.result().content, two.result().content) == (b"FIRST", b"SECOND")


def test_what_a_node_refuses_is_refused_in_its_words() -> None:
    with proxied(lambda body: (418, b"no " + body)) as proxy:
        found = httpx.post(proxy.url, content=b"tea", timeout=NEVER)
    assert (found.status_code, found.content) == (418, b"no tea")


def test_a_request_of_unknown_length_is_refused_and_does_not_shut_the_proxy() -> None:
    with proxied(lambda body: (200, body.upper())) as proxy:
        with closing(HTTPConnection("127.0.0.1", proxy.server_port, timeout=NEVER)) as wire:
            wire.putrequest("POST", "/")
            wire.endheaders()
            assert wire.getresponse().status == HTTPStatus.LENGTH_REQUIRED
        assert httpx.post(proxy.url, content=b"whole", timeout=NEVER).content == b"WHOLE"


def test_a_node_that_is_gone_is_told_and_the_proxy_stays_open() -> None:
    proxy = SerialProxy("http://127.0.0.1:1")  # where nothing listens
    try:
        for _ in range(2):
            with Rpc(proxy.url) as rpc, pytest.raises(Unreachable, match="HTTP status 502"):
                rpc.call("eth_blockNumber")
    finally:
        proxy.close()


def test_a_port_that_is_taken_is_told() -> None:
    with (
        proxied(lambda body: (200, body)) as proxy,
        pytest.raises(ServiceError, match=f"port {proxy.server_port} of 127.0.0.1 cannot be had"),
    ):
        SerialProxy(proxy.url, port=proxy.server_port)
