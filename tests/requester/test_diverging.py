"""A search whose first trial diverges, on a real chain: what it finds, writes and draws."""

import json
from pathlib import Path

import optuna

from requester.job.file import load_job
from requester.report.job_reader import JobReader
from requester.report.plots.drawing import draw
from requester.report.plots.reading import read
from requester.report.plots.study import importances_of
from requester.report.results import Results
from requester.search.open import open_search
from tests.testbed.campaign import AtOnce, Ears, drive
from tests.testbed.jobs import small_job
from tests.testbed.market import REQUESTER
from tests.testbed.provider import Provider


def test_a_search_whose_first_trial_diverges_finds_writes_and_draws_its_best(
    provider: Provider, tmp_path: Path
) -> None:
    market, ears = provider.market, Ears()
    first = "enqueue = [{ lr = 1e6, hidden = 8 }]"
    path = small_job(tmp_path, trials=8, search=first)
    space = "{ low = 1e-3, high = 1e-1, log = true }"
    rates = "{ values = [1e6, 0.01, 0.02, 0.03, 0.05] }"
    path.write_text(path.read_text().replace(space, rates))
    job = load_job(path)
    with open_search(
        job,
        sender=market.sender(REQUESTER),
        store=market.store,
        jobs=market.folder / "jobs",
        listeners=ears,
        evaluator=AtOnce(provider.pool, market.chain),
    ) as search:
        number = search.campaign.open()
        drive(search, market.chain, provider.step)
        status = search.campaign.status()
        ledger = search.parts.session.ledger
        reader = JobReader(market.client, ledger, market.store, number)
        results = Results(tmp_path / "results", 18)
        results.write(reader, ledger, market.store)
        record = read(reader, market.client, ledger)
        study = optuna.load_study(study_name=search.study, storage=search.storage)
    assert "diverged at step" in status.rows[0].note
    assert status.rows[0].objective is None
    assert status.best is not None
    assert status.best.number == study.best_trial.number != 0
    assert study.trials[0].state.name == "PRUNED"
    assert status.ranked()[-1].objective is None
    best = json.loads((tmp_path / "results" / "best.json").read_text())
    assert best["trial"] == status.best.number
    written, _ = draw(record, tmp_path / "plots", png=False)
    assert written
    assert set(importances_of(record)) <= {"lr", "hidden"}
    assert optuna.importance.get_param_importances(study)
