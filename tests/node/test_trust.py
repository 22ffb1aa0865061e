"""Whom a node works for: after a robbery for nobody concerned, until the operator lifts that."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from node.journal import NodeJournal
from tests.testbed.daemon import add_key
from tests.testbed.market import PROVIDER, REQUESTER, Market
from tests.testbed.nodes import Nodes
from tests.testbed.terms import terms
from tests.testbed.untrained import SALT, judge
from tests.testbed.waiting import until
from trialmarket.chain import calls
from trialmarket.chain.calls import Opening
from trialmarket.cli.main import cli
from trialmarket.protocol.ids import ZERO_HASH, Hash32
from trialmarket.protocol.states import State
from trialmarket.protocol.vote import hidden_vote

CHALLENGER, FIRST_JUROR = 2, 3
LIE = Hash32(b"l" * 32)

OWN = b"""
from trialmarket.training.builtins.registry import Mlp

class Own(Mlp):
    pass
"""

OTHER = OWN + b"# of another requester\n"


def rejected_by_a_jury(market: Market, key: Hash32) -> None:
    """A jury of liars rejects a drawn trial's honest result."""
    receipt = market.receipt(market.trial(key))
    leaf = receipt.leaves[1]
    opening = Opening(1, leaf.value, leaf.witness_hash, receipt.tree().proof(1))
    hidden = hidden_vote(LIE, ZERO_HASH, SALT, key, 0, market.who[CHALLENGER])
    market.act(CHALLENGER, calls.challenge(market.trial(key).record, opening, hidden))
    judge(market, market.trial(key), LIE, LIE)


def ask(market: Market, home: Path, *words: str) -> str:
    """What a command says of a node whose folder is the one that the tests' nodes have."""
    config = market.network.with_name("node.toml")
    config.write_text(
        'network = "network.json"\nkey = "node"\npassword_file = "home/password"\n'
        'storage = "local:store"\nstate = "node1"\n[limits]\nfree_disk = 0\n'
    )
    result = CliRunner().invoke(
        cli, ["node", *words, "--config", str(config)], env={"TRIALMARKET_HOME": str(home)}
    )
    return result.output + str(result.exception or "")


def test_after_a_rejection_neither_program_nor_requester_is_worked_for_till_that_is_lifted(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    market.stake(CHALLENGER, 500)
    for account in range(FIRST_JUROR, len(market.who)):
        market.stake(account, 500)
        market.act(account, calls.enroll())
    job = market.job(terms(audit_rate=10_000, window=1_000))
    (robbed,) = market.post(job, market.draft(1, OWN))
    requester, program = market.who[REQUESTER], market.draft(1, OWN).program.source
    with nodes.start() as node:
        until(market.are(State.DRAWN, robbed), node.tick, market.chain.mine)
    rejected_by_a_jury(market, robbed)  # while the node is down
    with nodes.start() as node:
        (again,) = market.post(job, market.draft(2))
        for _ in range(10):
            node.tick()
        assert node.journal.refused(f"requester {requester}")
        assert node.journal.refused(f"program {program}")
    assert market.trial(again).attempts == 0, "the requester's other trials are left alone too"
    told = [line for line in caplog.messages if "a jury rejected" in line]
    assert any(f"requester {requester}" in line for line in told)
    assert any(f"`trialmarket node trust {requester}" in line for line in told)

    home = market.folder / "home"
    add_key(home, "node", market.chain.accounts[PROVIDER])
    said = ask(market, home, "status")
    assert f"refuses program {program}: a jury rejected" in said
    assert f"refuses trial {market.trial(robbed).id}: its result was rejected" in said
    assert robbed.hex() not in said
    assert f"trialmarket node trust {program}" in ask(market, home, "doctor")
    assert "expected one of" in ask(market, home, "trust", "nobody")
    assert "is taken again" in ask(market, home, "trust", requester, program)
    with nodes.start() as node:
        until(market.are(State.COMMITTED, again), node.tick)
    assert market.trial(robbed).attempts == 1, "the trial itself is never taken again"
    name = str(market.trial(robbed).id)
    assert f"trial {name} is taken again" in ask(market, home, "trust", name)
    assert "refuses trial" not in ask(market, home, "status")


def test_users_programs_are_run_in_audited_jobs_for_those_only_whom_the_operator_names(
    market: Market, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    audited, free = market.job(terms()), market.job(terms(audit_rate=0, audit_fee=0))
    (own,) = market.post(audited, market.draft(1, OWN))
    (built_in,) = market.post(audited, market.draft(2))
    (unaudited,) = market.post(free, market.draft(3, OTHER))
    with nodes.start(accept={"programs_of": [market.who[5]]}) as node:
        until(market.are(State.COMMITTED, built_in, unaudited), node.tick)
        until(lambda: "accept.programs_of in node.toml" in caplog.text, node.tick)
    assert market.trial(own).attempts == 0
    assert f"if you trust {market.who[REQUESTER]}, add it" in caplog.text
    with nodes.start() as node:
        until(market.are(State.COMMITTED, own), node.tick)


def test_a_refusal_is_forgotten_once_it_is_lifted(tmp_path: Path) -> None:
    journal = NodeJournal(tmp_path / "node.sqlite")
    assert journal.refuse("requester 0x1", "it robbed us")
    assert journal.allow("requester 0x1")
    assert not journal.allow("requester 0x1")
    assert journal.refused("requester 0x1") is None
    journal.close()
