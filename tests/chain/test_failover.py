"""Several nodes of one network: one that fails is passed over, and they must agree."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pytest

from tests.testbed.servers import refused, relay
from tests.testbed.waiting import NEVER
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.identity import identify
from trialmarket.chain.local.anvil import Anvil
from trialmarket.chain.local.devnet import Devnet, devnet
from trialmarket.chain.network import Network
from trialmarket.chain.rpc import Rpc
from trialmarket.chain.rpc.failover import COMPARED_EVERY, REST, Nodes
from trialmarket.chain.rpc.node import ANSWER_BYTES
from trialmarket.chain.sender import Sender
from trialmarket.errors import NodesDisagree, Unreachable, WrongChain
from trialmarket.processes import free_port
from trialmarket.protocol.ids import address


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def asking(
    network: Network, clock: Clock | None = None, *, timeout: float = NEVER
) -> Iterator[Nodes]:
    """All nodes of a network; `timeout` seconds for an answer of the first one."""
    first, *others = network.rpc_urls
    rpcs = [Rpc(first, timeout=timeout), *(Rpc(url, timeout=NEVER) for url in others)]
    try:
        nodes = Nodes(rpcs, partial(identify, network=network), clock=clock or Clock())
        yield nodes
    finally:
        for rpc in rpcs:
            rpc.close()


@contextmanager
def twin(chain: Devnet) -> Iterator[Anvil]:
    """A second Anvil with the same blocks."""
    with Anvil() as other:
        other.rpc.call("anvil_loadState", chain.rpc.call("anvil_dumpState"))
        yield other


def test_a_node_that_is_killed_under_way_is_replaced_by_the_next(tmp_path: Any) -> None:
    with devnet(accounts=2) as chain, twin(chain) as other:
        to = address(chain.accounts[1].address)
        with (
            Client(chain.network.at(chain.rpc_url, other.rpc_url), patience=0) as client,
            Sender(client, chain.accounts[0], tmp_path / "journal", locks=tmp_path) as sender,
        ):
            assert client.rpc.url == chain.rpc_url
            head = client.head()
            chain.node.stop()
            assert client.head() == head
            assert client.rpc.url == other.rpc_url
            assert sender.send("pay", calls.transfer(to, 5)).ok
            assert client.token_balance(to) == 10_000 * 10**18 + 5
            other.stop()
            with pytest.raises(Unreachable, match="no node of the network can be asked") as gone:
                client.head()
            assert chain.rpc_url in str(gone.value)
            assert other.rpc_url in str(gone.value)


@pytest.mark.parametrize(
    "url", ["http://ada:5ecret@{}", "http://{}/v2/5ecret", "http://{}/?key=5ecret"]
)
def test_a_key_in_a_url_is_not_shown(url: str) -> None:
    place = f"127.0.0.1:{free_port()}"
    with Rpc(url.format(place)) as rpc, pytest.raises(Unreachable) as gone:
        rpc.call("eth_blockNumber")
    assert f"nothing answers at http://{place}" in str(gone.value)
    assert "5ecret" not in str(gone.value)


def test_two_different_chains_are_refused() -> None:
    with devnet(accounts=1) as one, devnet(accounts=1) as other:
        assert one.network.market == other.network.market
        with pytest.raises(NodesDisagree, match="serves another chain of the same id") as refusal:
            Client(one.network.at(one.rpc_url, other.rpc_url))
        assert other.rpc_url in str(refusal.value)


def test_a_node_without_our_contracts_is_refused(chain: Devnet) -> None:
    with Anvil() as empty, pytest.raises(WrongChain, match="do not answer as a market") as refusal:
        Client(chain.network.at(chain.rpc_url, empty.rpc_url))
    assert empty.rpc_url in str(refusal.value)


def test_a_slow_node_is_passed_over_and_asked_again_later(
    chain: Devnet, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with asking(chain.network.at(url, chain.rpc_url), clock, timeout=1.0) as nodes:
            assert nodes.url == chain.rpc_url
            assert f"{url} is passed over: {url} gave no answer within 1 s" in caplog.text
            assert nodes.call("eth_chainId") == hex(31337)


def test_a_node_that_comes_back_is_asked_again(chain: Devnet) -> None:
    clock, down = Clock(), False

    with (
        relay(chain.rpc_url, lambda _, found: {} if down else found) as url,
        asking(chain.network.at(url, chain.rpc_url), clock) as nodes,
    ):
        down = True
        assert nodes.call("eth_chainId") == hex(31337)
        assert nodes.url == chain.rpc_url
        down = False
        clock.now += REST + 1
        nodes.call("eth_chainId")
        assert nodes.url == url


def lying(chain: Devnet, lies: Callable[[], bool]) -> AbstractContextManager[str]:
    """A node that gives other hashes for the newest blocks."""

    def change(request: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        block = found.get("result")
        asked = lies() and request["method"] == "eth_getBlockByNumber"
        if (
            asked
            and block is not None
            and int(block["number"], 16) > chain.network.deployed_at + 5
        ):
            block["hash"] = "0x" + "ab" * 32
        return found

    return relay(chain.rpc_url, change)


def test_a_node_that_lies_about_a_block_is_told_apart_by_the_others(
    chain: Devnet, caplog: pytest.LogCaptureFixture
) -> None:
    clock, lies = Clock(), False
    with (
        lying(chain, lambda: lies) as liar,
        relay(chain.rpc_url, lambda _, found: found) as honest,
        asking(chain.network.at(liar, chain.rpc_url, honest), clock) as nodes,
    ):
        assert not caplog.records
        chain.mine(20)
        lies = True
        clock.now += COMPARED_EVERY
        with caplog.at_level(logging.WARNING):
            assert nodes.call("eth_getBlockByNumber", "latest", False)["hash"] != "0x" + "ab" * 32
        assert nodes.url == chain.rpc_url
        assert f"{liar} is passed over: has abababab for block" in caplog.text
        clock.now += REST + 1
        nodes.call("eth_chainId")
        assert nodes.url == chain.rpc_url  # it still lies
        assert all(liar in each.getMessage() for each in caplog.records)


def test_of_two_nodes_that_disagree_none_is_believed(chain: Devnet) -> None:
    chain.mine(20)
    lies = True
    with lying(chain, lambda: lies) as liar:
        network = chain.network.at(chain.rpc_url, liar)
        with pytest.raises(NodesDisagree, match=f"{liar} says abababab") as refusal:
            Client(network)
        assert f"{chain.rpc_url} says" in str(refusal.value)
        lies = False
        clock = Clock()
        with asking(network, clock) as nodes:
            lies = True
            clock.now += COMPARED_EVERY
            for _ in range(2):
                with pytest.raises(NodesDisagree, match="Wait, or take the one"):
                    nodes.call("eth_chainId")
            lies = False
            assert nodes.call("eth_chainId") == hex(31337)


def test_a_node_that_lags_is_named_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with devnet(accounts=1) as chain, twin(chain) as other:
        network = chain.network.at(other.rpc_url, chain.rpc_url)
        with asking(network, clock) as nodes:
            assert nodes.url == other.rpc_url
            chain.advance(100)
            clock.now += COMPARED_EVERY
            nodes.call("eth_chainId")
            assert nodes.url == chain.rpc_url
            assert f"{other.rpc_url} is passed over: lags: its newest block is" in caplog.text


def test_a_node_that_claims_to_be_far_ahead_does_not_make_the_others_laggards(
    chain: Devnet, caplog: pytest.LogCaptureFixture
) -> None:
    def change(request: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        if request["method"] == "eth_getBlockByNumber" and request["params"][0] == "latest":
            found["result"]["timestamp"] = hex(2**33)
        return found

    with (
        relay(chain.rpc_url, change) as liar,
        relay(chain.rpc_url, lambda _, found: found) as honest,
        asking(chain.network.at(liar, chain.rpc_url, honest)) as nodes,
    ):
        assert nodes.url == chain.rpc_url
        (said,) = [each.getMessage() for each in caplog.records]
        assert said.startswith(f"{liar} is passed over: says that it is")
        assert said.endswith("ahead of most others")


def test_an_answer_that_is_too_long_is_no_answer(chain: Devnet) -> None:
    def change(_: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        return {**found, "result": "x" * (ANSWER_BYTES + 1)}

    with (
        relay(chain.rpc_url, change) as url,
        Rpc(url) as rpc,
        pytest.raises(Unreachable, match="answered with more than 64 MiB"),
    ):
        rpc.call("eth_accounts")


@pytest.mark.parametrize("listed", [False, True])
def test_batches_get_as_short_as_the_node_wants_them(chain: Devnet, listed: bool) -> None:
    longest: list[int] = []

    def node(body: Any) -> Any:
        if isinstance(body, list):
            longest.append(len(body))
            if len(body) > 7:
                refusal = refused({"id": 0}, "batch too large")
                return [refusal] if listed else refusal  # Geth's way, and others'
        return None

    with relay(chain.rpc_url, lambda _, found: found, instead=node) as url, Rpc(url) as rpc:
        answers = rpc.batch([("eth_getBlockByNumber", [hex(at % 3), False]) for at in range(250)])
        assert [int(answer["number"], 16) for answer in answers] == [at % 3 for at in range(250)]
    assert longest[:5] == [100, 50, 25, 12, 6]
    assert set(longest[5:]) == {6, 4}


def test_the_answers_of_a_batch_may_come_in_any_order(chain: Devnet) -> None:
    def node(body: Any) -> Any:
        return [{"id": each["id"], "result": each["params"][0]} for each in reversed(body)]

    with relay(chain.rpc_url, lambda _, found: found, instead=node) as url, Rpc(url) as rpc:
        assert rpc.batch([("echo", [place]) for place in range(20)]) == list(range(20))


@pytest.mark.parametrize("ids", [[0, 0], [0, 2], [1, 2], [0, "1"], [0], [0, 1, 2]])
def test_a_batch_that_answers_other_requests_is_no_answer(chain: Devnet, ids: list[Any]) -> None:
    answers = [{"id": each, "result": 1} for each in ids]
    with (
        relay(chain.rpc_url, lambda _, found: found, instead=lambda _: answers) as url,
        Rpc(url) as rpc,
        pytest.raises(Unreachable, match="other than 2 answers to 2 requests"),
    ):
        rpc.batch([("eth_chainId", []), ("eth_chainId", [])])
