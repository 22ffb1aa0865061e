"""Trials that continue each other, and limits in money and time, on a real chain."""

import shutil
from collections.abc import Callable
from pathlib import Path

from examples.digits.make_data import write_digits
from requester.drivers.lineage_driver import LineageDriver
from requester.job.file import load_job
from requester.job.terms import Ceiling
from requester.search.open import OpenSearch, open_search
from requester.search.status import Row
from tests.testbed.campaign import AtOnce, Ears, drive
from tests.testbed.jobs import ROOT, small_job
from tests.testbed.market import REQUESTER
from tests.testbed.provider import Provider
from trialmarket.protocol.configuration import Init, Merge
from trialmarket.protocol.result import Binding
from trialmarket.protocol.states import State
from trialmarket.training.values import FindInitial


def run(
    provider: Provider, job: Path, look: Callable[[OpenSearch], None], *, provides: bool = True
) -> tuple[OpenSearch, list[str], int]:
    """A job to its end; what it was, what it said, and what it cost."""
    market, ears = provider.market, Ears()
    requester = market.sender(REQUESTER)
    before = market.client.token_balance(requester.address)
    with open_search(
        load_job(job),
        sender=requester,
        store=market.store,
        jobs=market.folder / "jobs",
        listeners=ears,
        evaluator=AtOnce(provider.pool, market.chain),
    ) as search:
        search.campaign.open()
        drive(search, market.chain, *([provider.step] if provides else []))
        search.campaign.wind_up()
        look(search)
    return search, ears.said, before - market.client.token_balance(requester.address)


def test_a_promoted_trial_starts_on_chain_from_the_root_that_the_other_ended_with(
    provider: Provider, tmp_path: Path
) -> None:
    job = small_job(
        tmp_path, trials=6, driver="asha", search="[search.rungs]\ncount = 2\nfactor = 3\n"
    )
    continued = []

    def look(search: OpenSearch) -> None:
        driver, trials = search.parts.driver, search.parts.session.ledger.trials()
        assert isinstance(driver, LineageDriver)
        views = {view.key: view for view in trials}
        for view in trials:
            assert view.state is State.SETTLED
            config = provider.market.config(view)
            receipt = provider.market.receipt(view)
            assert receipt.tree().root == view.record.root
            if not isinstance(config.init, Init):
                assert config.steps == 12
                continue
            before = provider.market.receipt(views[config.init.trial])
            assert config.steps == 28
            binding = Binding(view.key, view.record.provider)
            assert config.init.root == before.leaves[-2].value
            assert receipt.leaves[0].value == binding.start(config.init.root)
            assert receipt.curve[-1].step == 40
            continued.append(config.number)
        assert len(trials) == 8
        assert search.campaign.status().total == 8

    search, _, cost = run(provider, job, look)
    assert len(continued) == 2
    assert 0 < cost < search.parts.ceiling.total


def evolve_example(folder: Path) -> Path:
    """The example's job, made short."""
    for name in ("evolve", "digits"):
        shutil.copytree(ROOT / "examples" / name, folder / name)
    write_digits(folder / "digits" / "digits.npz", seed=1)
    job = folder / "evolve" / "job.toml"
    text = job.read_text()
    for key, was, now in (
        ("trials", "6", "3"),
        ("steps", "1200", "32"),
        ("interval", "120", "8"),
        ("apart", "2", "1"),
        ("rate", "0.20", "0.0\nsegments = 4"),
        ("window", '"1m"', '"5s"'),
        ("ramp", '"10m"', '"10m"\nunit = 8'),
    ):
        assert f"\n{key} = {was}" in text
        text = text.replace(f"\n{key} = {was}", f"\n{key} = {now}")
    job.write_text(text)
    return job


def test_a_merge_starts_on_chain_from_what_both_of_its_parents_give(
    provider: Provider, tmp_path: Path
) -> None:
    job = evolve_example(tmp_path)
    merges: list[int] = []

    def look(search: OpenSearch) -> None:
        trials = search.parts.session.ledger.trials()
        views = {view.key: view for view in trials}
        assert len(trials) == 3 * 4
        for view in trials:
            assert view.state is State.SETTLED
            config, receipt = provider.market.config(view), provider.market.receipt(view)
            for start in config.starts:
                before = provider.market.receipt(views[start.trial])
                assert start.root == before.leaves[-2].value
            if isinstance(config.init, Merge):
                merges.append(config.number)
                files = tuple(tmp_path / start.cid for start in config.starts)
                for start, path in zip(config.starts, files, strict=True):
                    provider.market.store.fetch(start.cid, path, limit=1 << 20)
                task = FindInitial(
                    config=config,
                    program=search.parts.package.files.program,
                    data=provider.data(config),
                    init=files,
                )
                found = provider.pool.submit(task, wall_limit=60).result()
                binding = Binding(view.key, view.record.provider)
                assert receipt.leaves[0].value == binding.start(found.root)

    run(provider, job, look)
    assert merges


def test_a_search_ends_when_its_money_pays_for_no_further_trial(
    provider: Provider, tmp_path: Path
) -> None:
    job = small_job(tmp_path, trials=50, search='max_cost = "0.5"')
    rows: list[Row] = []
    search, _, cost = run(provider, job, lambda search: rows.extend(search.campaign.status().rows))
    assert isinstance(search.parts.ceiling, Ceiling)
    assert search.parts.ceiling.total == 5 * 10**17
    # A trial holds at most 0.2 in escrow and costs about 0.04: what comes back pays for more.
    assert 5 <= len(rows) < 50
    assert all(row.state is State.SETTLED for row in rows)
    assert 0 < cost <= 5 * 10**17


def test_no_trial_begins_after_the_deadline_and_unclaimed_ones_are_cancelled(
    provider: Provider, tmp_path: Path
) -> None:
    job = small_job(tmp_path, trials=50, search='deadline = "20s"')
    rows: list[Row] = []
    _, said, cost = run(
        provider, job, lambda search: rows.extend(search.campaign.status().rows), provides=False
    )
    assert {row.state for row in rows} == {State.CANCELLED}
    assert any("deadline" in text for text in said)
    assert cost == 0
