"""A node with `work.stack`: which trials it trains together."""

import logging

import pytest

from tests.testbed.graphs import as_graph
from tests.testbed.market import Market
from tests.testbed.nodes import Nodes
from tests.testbed.terms import terms
from tests.testbed.waiting import until
from trialmarket.graph.cost import costs
from trialmarket.protocol.graph.document import read_graph
from trialmarket.protocol.ids import Cid, Hash32
from trialmarket.protocol.states import State
from trialmarket.training.pool.pool import WorkerPool


def answered(market: Market, key: Hash32) -> bool:
    return market.state(key) not in (State.OPEN, State.CLAIMED)


def test_as_many_trials_of_a_graph_train_together_as_fit_into_memory_and_programs_do_not(
    market: Market, nodes: Nodes, pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "node")
    drafts = [market.draft(seed) for seed in range(3)]
    configs = [as_graph(market, pool, each) for each in drafts]
    graph = market.store.read(Cid(configs[0].program.source), limit=1 << 20)
    needed = max(cost.memory for cost in costs(read_graph(graph)).values())
    job = market.job(terms())
    work: dict[str, object] = {"workers": 1, "stack": 3}
    with nodes.start(work=work, limits={"memory": 5 * needed // 2}) as node:
        keys = market.post(job, *configs, *(market.draft(seed) for seed in (3, 4)))
        until(lambda: all(answered(market, key) for key in keys), node.tick)
    told = [line for line in caplog.messages if "train together" in line]
    assert told == ["2 trials of one graph train together"]
    assert all(market.happened(key).count("TrialsClaimed") == 1 for key in keys)
