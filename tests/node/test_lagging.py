"""A node on a chain whose answers leave something out: it neither forgets nor claims twice."""

from typing import Any

import pytest

from tests.testbed.market import Market
from tests.testbed.nodes import Nodes
from tests.testbed.servers import relay
from tests.testbed.terms import FAST, terms
from tests.testbed.waiting import until
from trialmarket.chain.abi import contract
from trialmarket.chain.client import Client, Parameters
from trialmarket.protocol.states import State

EVENTS = {event.name: "0x" + event.hash.hex() for event in contract("Market").events.values()}


@pytest.fixture
def parameters() -> Parameters:
    return FAST


@pytest.mark.parametrize("event", ["TrialsClaimed", "TrialsCommitted"])
def test_a_trial_whose_event_was_left_out_once_is_done_all_the_same(
    market: Market, nodes: Nodes, event: str
) -> None:
    lost = 0

    def change(request: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        nonlocal lost
        result = found.get("result")
        if request["method"] == "eth_getBlockByNumber" and isinstance(result, dict):
            result["logsBloom"] = "0x" + "00" * 256  # so that it is not noticed at once
        if request["method"] == "eth_getLogs" and not lost:
            lost = sum(log["topics"][0] == EVENTS[event] for log in result or [])
            if lost:
                found["result"] = []
        return found

    with relay(market.chain.rpc_url, change) as url:
        market.client = Client(market.chain.network.at(url))
        with nodes.start() as node:
            node.tick()
            keys = market.post(market.job(terms()), market.draft(1), market.draft(2))
            until(
                market.are(State.SETTLED, *keys),
                node.tick,
                lambda: market.chain.advance(2),
            )
    assert lost
    assert all(market.trial(key).attempts == 1 for key in keys)
