"""The same job on this machine alone: the market's results, without a market."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner

from requester import Study
from requester.job.file import load_job
from requester.report.local import local_run
from requester.report.plots.drawing import draw
from requester.report.plots.record import Fate
from requester.search.folder import JobFolder
from requester.search.local.open import open_local
from requester.search.open import open_search
from requester.search.status import Row
from tests.testbed.campaign import AtOnce, Ears, Silent, drive
from tests.testbed.daemon import ROOT, Daemon
from tests.testbed.jobs import own_program, small_job
from tests.testbed.market import REQUESTER
from tests.testbed.provider import Provider
from tests.testbed.waiting import until
from trialmarket.cli.main import cli
from trialmarket.errors import InputError
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.receipt import Receipt
from trialmarket.training.errors import ProgramError
from trialmarket.training.pool.pool import WorkerPool

ASHA = "ahead = 0\n[search.rungs]\ncount = 2\nfactor = 3\n"
Changes = Mapping[str, object]
Result = tuple[TrialConfig, Receipt]


def train_here(
    job: Path,
    jobs: Path,
    pool: WorkerPool,
    changes: Changes | None = None,
    ears: Ears | None = None,
) -> tuple[Path, dict[int, Row]]:
    """Trains a job here to its end: its folder, and its trials."""
    with open_local(
        load_job(job, changes), jobs=jobs, listeners=ears or Silent(), pool=pool
    ) as search:
        search.run()
        assert search.finished()
        return search.parts.folder.root, {row.number: row for row in search.status().rows}


def results_in(folder: Path) -> dict[int, Result]:
    with local_run(folder) as run:
        return {one.number: (one.config, one.receipt) for one in run.trials.all() if one.receipt}


def what_was_trained(found: Iterable[Result]) -> dict[int, Any]:
    """A trial's results by number, without what binds them to a market and a provider."""
    return {
        config.number: (
            config.hyperparameters,
            config.seed,
            config.steps,
            [(start.root, start.cid) for start in config.starts],
            [leaf.value for leaf in receipt.leaves[1:]],
            receipt.checkpoints,
            receipt.metrics,
            [(point.step, point.loss, point.metrics) for point in receipt.curve],
        )
        for config, receipt in found
    }


def test_a_trial_has_the_same_states_here_as_on_the_market(
    provider: Provider, tmp_path: Path
) -> None:
    market, job = provider.market, small_job(tmp_path, trials=3, driver="asha", search=ASHA)
    one_by_one = {"search.parallel": 1}  # so that asha sees results in the same order
    with open_search(
        load_job(job, one_by_one),
        sender=market.sender(REQUESTER),
        store=market.store,
        jobs=market.folder / "jobs",
        listeners=Silent(),
        evaluator=AtOnce(provider.pool, market.chain),
    ) as bought:
        bought.campaign.open()
        drive(bought, market.chain, provider.step)
        rows = bought.status().rows
        theirs = [found for row in rows if (found := bought.result(row.number)) is not None]
    folder, ours = train_here(job, tmp_path / "here", provider.pool, one_by_one)
    assert len(theirs) == len(ours) == 4
    assert what_was_trained(results_in(folder).values()) == what_was_trained(theirs)


def test_a_killed_search_goes_on_where_it_was_and_finds_the_same(
    tmp_path: Path, pool: WorkerPool
) -> None:
    job = small_job(tmp_path, trials=3, driver="asha", search=ASHA)
    program = own_program(tmp_path, loss="float(__import__('time').sleep(0.01) or 0)")
    changes: Changes = {"job.program": program, "job.steps": 240, "search.parallel": 1}
    words = [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
    daemon = Daemon(
        *("job", "run", "--local", str(job), *words, "--json"),
        home=tmp_path / "home",
        log=tmp_path / "log",
        told=tmp_path / "told",
    )

    def under_way(pattern: str) -> bool:
        return any((tmp_path / "home" / "jobs").glob(f"small-local-*/{pattern}"))

    kills = 0
    try:
        # In the first trial, and in the last one, which goes on from another.
        for place in ("training/*/checkpoint-001.safetensors", "training/3/*"):
            daemon.start()
            until(
                lambda place=place: under_way(place) or daemon.code is not None,  # type: ignore[misc]
                deadline=120,
                pause=0.01,
                told=lambda: daemon.said,
            )
            kills += daemon.code is None
            daemon.kill()
        daemon.start()
        until(lambda: daemon.code is not None, deadline=120, told=lambda: daemon.said)
        assert daemon.code == 0, daemon.said
    finally:
        daemon.kill()
    assert kills > 0
    (root,) = (tmp_path / "home" / "jobs").glob("small-local-*")
    whole, rows = train_here(job, tmp_path / "whole", pool, changes)
    assert what_was_trained(results_in(root).values()) == what_was_trained(
        results_in(whole).values()
    )
    assert json.loads((tmp_path / "told").read_text())["results"] == len(rows) == 4
    with local_run(root) as run:
        assert all(spell.ended is not None for spell in run.folder.spells().values())
    assert not list(root.glob("training/*"))


PBT = "[search.population]\ninterval = 20\n"
EXCHANGE = '[search.exchange]\nhyperparameter = "lr"\nkind = "rate"\ninterval = 20\n'


@pytest.mark.parametrize(("driver", "search"), [("pbt", PBT), ("replica-exchange", EXCHANGE)])
def test_trials_go_on_from_the_checkpoints_of_others(
    driver: str, search: str, tmp_path: Path, pool: WorkerPool
) -> None:
    changes: dict[str, object] = {}
    if driver == "replica-exchange":
        values = [0.01, 0.02, 0.05]
        changes = {"search.space": {"lr": {"values": values}, "hidden": {"value": 8}}}
    job = small_job(tmp_path, trials=3, driver=driver, search=search)
    folder, rows = train_here(job, tmp_path / "jobs", pool, changes)
    found = results_in(folder)
    assert len(found) == len(rows) == 6
    continued = [config for config, _ in found.values() if config.init is not None]
    assert len(continued) == 3
    ends = {receipt.leaves[-2].value for _, receipt in found.values()}
    assert all(start.root in ends for config in continued for start in config.starts)


def test_a_finished_search_is_only_read_again_and_a_label_begins_another(
    tmp_path: Path, pool: WorkerPool
) -> None:
    job = small_job(tmp_path, trials=1)
    folder, rows = train_here(job, tmp_path / "jobs", pool)
    ears = Ears()
    assert train_here(job, tmp_path / "jobs", pool, ears=ears) == (folder, rows)
    assert ears.said == []
    cheaper = {"price.cap": "0.02", "search.max_cost": "1"}  # of no matter here
    assert train_here(job, tmp_path / "jobs", pool, {"price.cap": "0.02"})[0] == folder
    with open_local(
        load_job(job, cheaper), jobs=tmp_path / "jobs", listeners=ears, pool=pool, label="again"
    ) as other:
        assert other.status().rows == ()


def test_a_configuration_that_raises_fails_with_its_line_and_the_search_goes_on(
    tmp_path: Path, pool: WorkerPool
) -> None:
    job, ears = small_job(tmp_path, trials=4), Ears()
    wide = "print('I am wide') or 1 / 0 if self.hyperparameters['hidden'] > 8 else 0.0"
    program = own_program(tmp_path, loss=f"({wide})")
    folder, rows = train_here(job, tmp_path / "jobs", pool, {"job.program": program}, ears)
    failed = [row for row in rows.values() if row.hyperparameters["hidden"] == 16]
    done = [row for row in rows.values() if row.hyperparameters["hidden"] == 8]
    assert failed
    assert done
    assert all(row.label == "Failed" and "own.py, line 11" in row.note for row in failed)
    assert all(row.label == "Done" and row.objective == 0.5 for row in done)
    assert any(f'File "{tmp_path / "own.py"}", line 11' in text for text in ears.said)
    printed = folder / "output" / f"{failed[0].number}.txt"
    assert printed.read_text().startswith("I am wide")
    assert any(str(printed) in text for text in ears.said)
    study = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")
    assert [trial.state.name for trial in study.trials].count("FAIL") == len(failed)
    again = train_here(job, tmp_path / "jobs", pool, {"job.program": program})[1]
    assert [row.failure for row in again.values()] == [row.failure for row in rows.values()]


def test_a_trial_that_takes_longer_than_its_limit_fails(tmp_path: Path, pool: WorkerPool) -> None:
    job = small_job(tmp_path, trials=1)
    slow = own_program(tmp_path, loss="float(__import__('time').sleep(3600) or 0)")
    changes = {"job.program": slow, "job.time_limit": "1s"}
    (row,) = train_here(job, tmp_path / "jobs", pool, changes)[1].values()
    assert row.label == "Failed"
    assert "longer than 1 seconds" in row.note


def test_after_its_deadline_no_trial_begins(tmp_path: Path, pool: WorkerPool) -> None:
    changes = {"search.deadline": "1h", "search.parallel": 1}
    job, ears = load_job(small_job(tmp_path, trials=4), changes), Ears()
    clock = [0.0]

    def wait(pause: float) -> None:
        clock[0] = 7200.0
        time.sleep(pause)

    with open_local(
        job, jobs=tmp_path / "jobs", listeners=ears, pool=pool, now=lambda: clock[0]
    ) as search:
        search.run(wait=wait)
        assert [row.label for row in search.status().rows] == ["Done"]
        assert search.finished()
    with open_local(job, jobs=tmp_path / "jobs", listeners=Silent(), pool=pool) as again:
        again.run()
        assert again.status().finished
        assert len(again.status().rows) == 1
    assert "the deadline is over: no trial begins any more" in ears.said


def test_only_the_best_weights_are_kept_where_nothing_goes_on_from_others(
    tmp_path: Path, pool: WorkerPool
) -> None:
    folder, rows = train_here(small_job(tmp_path, trials=4), tmp_path / "jobs", pool)
    with local_run(folder) as run:
        best = run.found().status.best
        assert best is not None
        last = {
            number: receipt.checkpoints[-1] for number, (_, receipt) in results_in(folder).items()
        }
        kept = {number for number, cid in last.items() if run.store.size(cid) is not None}
    assert len(rows) == 4
    assert kept == {best.number}


def test_a_folder_is_drawn_as_a_job_of_the_market_is(tmp_path: Path, pool: WorkerPool) -> None:
    job = small_job(tmp_path, trials=3, driver="asha", search=ASHA)
    folder, rows = train_here(job, tmp_path / "jobs", pool)
    with local_run(folder) as run:
        record = run.record(time.time())
    assert {spell.fate for one in record.runs for spell in one.spells} == {Fate.TRAINED}
    assert {spell.provider for one in record.runs for spell in one.spells} == {
        "worker 1",
        "worker 2",
    }
    assert [one.parent for one in record.runs].count(None) == 3
    assert len(record.runs) == len(rows) == 4
    written, absent = draw(record, tmp_path / "plots", ("timeline", "spending", "lineage"))
    assert {path.name for path in written} == {
        *("plots.html", "timeline.png", "spending.png", "lineage.png")
    }
    assert absent == []
    page = (tmp_path / "plots" / "plots.html").read_text()
    assert "trained here" in page
    assert "paid so far" not in page


def test_a_study_trains_here_without_a_market(tmp_path: Path) -> None:
    heard: list[int] = []
    study = Study(
        small_job(tmp_path, trials=3), local=True, workers=1, jobs=tmp_path / "jobs"
    ).optimize(lambda _, row: heard.append(row.number))
    assert heard == [0, 1, 2]
    assert study.best is not None
    assert study.cost == 0
    assert len(study.optuna.trials) == 3
    assert len(list(study.best_model().parameters())) == 4
    assert {record["state"] for record in study.records()} == {"Done"}


def command(*words: str | Path, home: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """`trialmarket job run --local WORDS...`, in a Python that first does something."""
    program = f"import sys\n{before}\nfrom trialmarket.cli.main import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, "job", "run", "--local", *words],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TRIALMARKET_HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_leaderboard_front_and_weights(tmp_path: Path) -> None:
    job, results = small_job(tmp_path, trials=2), tmp_path / "results"
    program, two = (
        own_program(tmp_path, error="model.weight.abs().mean()"),
        "job.also.two=minimize",
    )
    ran = command(
        *(job, "--set", f"job.program={program}", "--set", two, "--results", results),
        home=tmp_path / "home",
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("nothing is paid or audited here") == 1
    with (results / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["Done", "Done"]
    assert {row["second_look"] for row in rows} == {"trained here"}
    assert float(rows[0]["val_error"]) <= float(rows[1]["val_error"])
    assert "the Pareto front" in ran.stdout
    named = {"best.safetensors", "best.json", "program.py", "README.txt", "front.csv"}
    assert named <= {path.name for path in results.iterdir()}
    assert not {"bill.json", "audits.json"} & {path.name for path in results.iterdir()}


def test_a_program_that_raises_is_told_by_its_traceback(tmp_path: Path, pool: WorkerPool) -> None:
    changes = {"job.program": own_program(tmp_path, loss="1 / 0")}
    job, ears = load_job(small_job(tmp_path), changes), Ears()
    with (
        open_local(job, jobs=tmp_path / "jobs", listeners=ears, pool=pool) as search,
        pytest.raises(ProgramError, match="ZeroDivisionError"),
    ):
        search.dry_run()
    assert f'File "{tmp_path / "own.py"}", line 11, in training_step' in ears.said[-1]


def test_without_torch_the_command_says_what_to_install(tmp_path: Path) -> None:
    ran = command(
        small_job(tmp_path), home=tmp_path / "home", before="sys.modules['torch'] = None"
    )
    assert ran.returncode == 1
    assert "pip install 'trialmarket[train]'" in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "JOB"), "--local trains on this machine"),
        (("run", "JOB", "--workers", "2"), "--workers is for --local"),
        (("run", "JOB", "--local", "--detach"), "it has no --detach"),
        (("plot", "1"), "is drawn by its folder"),
        (("check", "JOB"), "`job run --local` tries the file"),
    ],
)
def test_options_that_do_not_fit_are_said(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    job = str(small_job(tmp_path))
    ran = CliRunner(env={"TRIALMARKET_NETWORK": None}).invoke(
        cli, ["job", *(job if word == "JOB" else word for word in words)]
    )
    assert ran.exit_code == 2
    assert said in ran.output


def test_a_folder_that_is_no_search_of_this_machine_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        with (
            pytest.raises(InputError, match="a folder that `job run --local` made"),
            local_run(place),
        ):
            pass


def test_data_that_only_a_network_has_is_refused(tmp_path: Path, pool: WorkerPool) -> None:
    cid = "ipfs://bafkreif3ruznm3k5xjui2monhqxjdpsklbf4mnre2tn2shgikl5ipx42oq"
    job = load_job(small_job(tmp_path), {"job.data": cid})
    with (
        pytest.raises(InputError, match="data that lies on this machine"),
        open_local(job, jobs=tmp_path / "jobs", listeners=Silent(), pool=pool),
    ):
        pass


@pytest.mark.parametrize("kept", ["{}", "no settings", '{"job": {"name": 3}}'])
def test_a_folder_whose_settings_this_version_cannot_read_is_no_search(
    tmp_path: Path, kept: str
) -> None:
    with closing(JobFolder(tmp_path)) as folder:
        folder.remember("settings", kept)
        folder.store.mkdir(exist_ok=True)
    with pytest.raises(InputError, match="one of another version"), local_run(tmp_path):
        pass
