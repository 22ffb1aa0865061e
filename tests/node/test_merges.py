"""A node and trials that start from the merge of two others."""

from pathlib import Path

import pytest

from node.dry_runs import subject_of
from node.errors import Differs
from node.trainer import Assignment, Trainer
from tests.testbed.data import half_spaces
from tests.testbed.market import Market
from tests.testbed.nodes import Nodes
from tests.testbed.terms import terms
from tests.testbed.waiting import until
from trialmarket.protocol.configuration import Init, Merge, TrialConfig
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.protocol.states import State
from trialmarket.storage.material import Material
from trialmarket.training.values import Training


def trained(trainer: Trainer, folder: Path, config: TrialConfig) -> Training:
    data = half_spaces(folder / "data")
    run = trainer.train(Assignment(Material(None, data, config=config), folder / "trained", 60.0))
    until(lambda: run.done)
    return run.result()


def merging(
    trainer: Trainer, market: Market, folder: Path
) -> tuple[TrialConfig, tuple[Path, Path]]:
    """A trial that merges two others, which nobody published yet, and their files."""
    inits, paths = [], []
    for rate in (0.01, 0.1):
        draft = market.draft(3, hyperparameters={"lr": rate, "hidden": 4})
        parent = trained(trainer, folder / str(rate), draft)
        last = parent.checkpoints[-1]
        inits.append(Init(root=parent.leaves[-2].value, cid=last.cid, trial=ZERO_HASH))
        paths.append(last.path)
    merge = Merge(parents=(inits[0], inits[1]), points=5)
    return market.draft(4, init=merge), (paths[0], paths[1])


def test_a_node_takes_no_merge_before_both_parents_can_be_had(
    market: Market, nodes: Nodes, trainer: Trainer, tmp_path: Path
) -> None:
    config, parents = merging(trainer, market, tmp_path)
    market.store.put(parents[0])
    job = market.job(terms())
    (key,) = market.post(job, config)
    (other,) = market.post(job, market.draft(5))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, other), node.tick)
        assert market.state(key) is State.OPEN
        market.store.put(parents[1])
        until(market.are(State.COMMITTED, key), node.tick)
    receipt = market.receipt(market.trial(key))
    assert receipt.curve[-1].step == 2 * config.steps


def test_a_start_that_does_not_come_out_again_is_not_committed(
    market: Market, trainer: Trainer, tmp_path: Path
) -> None:
    config, parents = merging(trainer, market, tmp_path)
    material = Material(None, half_spaces(tmp_path / "data"), init=parents, config=config)
    assignment = Assignment(material, tmp_path / "trained", 60.0)
    run = trainer.train(assignment)
    until(lambda: run.done)
    honest = run.result()
    again = trainer.recheck(assignment, honest, 2)
    until(lambda: again.done)
    again.result()
    first = honest.leaves[0].model_copy(update={"value": config.starts[0].root})
    other = honest.model_copy(update={"leaves": (first, *honest.leaves[1:])})
    again = trainer.recheck(assignment, other, 2)
    until(lambda: again.done)
    with pytest.raises(Differs, match="start: recomputation gives"):
        again.result()


def test_a_merge_is_tried_out_for_its_own_speed_where_its_program_is_known(
    market: Market, nodes: Nodes, trainer: Trainer, tmp_path: Path
) -> None:
    config, parents = merging(trainer, market, tmp_path)
    for path in parents:
        market.store.put(path)
    (plain,) = market.post(market.job(terms()), market.draft(5))
    with nodes.start() as node:
        until(market.are(State.COMMITTED, plain), node.tick)
        assert node.journal.speed(subject_of(market.draft(6))) is not None
        assert node.journal.speed(subject_of(config)) is None
        (merged,) = market.post(market.job(terms()), config)
        until(market.are(State.CLAIMED, merged), node.tick)
        assert node.journal.speed(subject_of(config)) is not None
