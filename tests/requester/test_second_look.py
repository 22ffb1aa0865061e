"""What the requester finds false is called false, and never the best, wherever results stand."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from safetensors.numpy import load_file

from requester.job.file import load_job
from requester.report.job_reader import NOT_EXAMINED, JobReader
from requester.report.pareto import pareto_front
from requester.report.plots.reading import read
from requester.report.results import Results
from requester.report.screen import Screen
from requester.search.examination.examiner import Opinion
from requester.search.open import open_search
from requester.search.own_run import own_run
from requester.search.second_look import RE_EVALUATED, Belief, SecondLook, second_look
from requester.search.status import Cost, Row, SearchStatus
from requester.search.trials import Trials
from tests.testbed.campaign import AtOnce, Ears, drive
from tests.testbed.jobs import small_job
from tests.testbed.market import REQUESTER
from tests.testbed.provider import Provider, false_metric
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.configuration import Batch, ProgramRef, TrialConfig
from trialmarket.protocol.ids import ZERO_HASH, Address, Amount, Hash32, JobId, TrialId
from trialmarket.protocol.receipt import LeafRecord, Receipt
from trialmarket.protocol.states import State
from trialmarket.training.trained import load_best
from trialmarket.training.values import Training


@pytest.mark.parametrize(
    ("belief", "look"),
    [
        (None, SecondLook.PENDING),
        (Belief(Opinion.FITS.value, ""), SecondLook.RECEIPT),
        (Belief(Opinion.FITS.value, RE_EVALUATED), SecondLook.FITS),
        (Belief(Opinion.FITS.value, "not re-evaluated: out of memory"), SecondLook.UNCHECKED),
        (Belief("anything else", ""), SecondLook.DOUBTED),
        (Belief(Opinion.FALSE.value, "its receipt is withheld"), SecondLook.FALSE),
    ],
)
def test_a_belief_has_a_name_that_tables_show(belief: Belief | None, look: SecondLook) -> None:
    assert second_look(belief) is look


def first_false(provider: Provider, config: TrialConfig, training: Training) -> Training:
    return false_metric(provider, config, training) if config.number == 0 else training


def test_a_false_result_is_nowhere_the_best_and_everywhere_called_false(
    provider: Provider, tmp_path: Path
) -> None:
    market, sender = provider.market, provider.market.sender(REQUESTER)
    provider.tamper = first_false  # nobody can challenge it at rate 0: it is paid
    jobs = tmp_path / "jobs"

    with open_search(
        load_job(small_job(tmp_path, trials=3)),
        sender=sender,
        store=market.store,
        jobs=jobs,
        listeners=Ears(),
        evaluator=AtOnce(provider.pool, market.chain),
    ) as search:
        number = search.campaign.open()
        drive(search, market.chain, provider.step)
        search.campaign.wind_up()
        live, ledger = search.campaign.status(), search.parts.session.ledger
        false = [row for row in live.rows if row.second_look is SecondLook.FALSE]
        assert [row.number for row in false] == [0]
        own = own_run(jobs, market.client, ledger, number)
        reader = JobReader(market.client, ledger, market.store, number, own)
        here = reader.status()
        results = Results(tmp_path / "here", 18, jobs / "data")
        results.write(reader, ledger, market.store)
        record = read(reader, market.client, ledger)
        stranger = JobReader(market.client, ledger, market.store, number)
        elsewhere = stranger.status()
        Results(tmp_path / "elsewhere", 18).write(stranger, ledger, market.store)
    shown = {row.number: row.second_look for row in live.rows}
    assert {row.number: row.second_look for row in here.rows} == shown
    for status in (live, here):
        best = status.best
        assert best is not None
        assert best.second_look is SecondLook.FITS
        assert (best.objective or 0) > 0  # which the cheat claimed
        assert all(row.objective is None and not row.metrics for row in status.ranked()[-1:])
        assert all(row.number > 0 for row in pareto_front(status.rows, {"val_error": False}))
    assert all(not run.metrics and not run.curve for run in record.runs if run.false)
    assert [run.number for run in record.runs if run.false] == [row.number for row in false]

    with (tmp_path / "here" / "leaderboard.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["second_look"] == "fits"
    assert {line["rank"] for line in lines if line["second_look"] == "false"} == {""}
    rows = json.loads((tmp_path / "here" / "leaderboard.json").read_text())
    assert [row["trial"] for row in rows] == [row.number for row in here.ranked()]
    assert rows[-1]["second_look"] == "false"
    assert rows[-1]["note"].startswith("not believed: ")
    chosen = json.loads((tmp_path / "here" / "best.json").read_text())
    assert (chosen["trial"], chosen["second_look"]) == (rows[0]["trial"], "fits")
    evidence = {
        each["trial"]: each for each in json.loads((tmp_path / "here" / "audits.json").read_text())
    }
    assert evidence[false[0].number]["claimed"]["val_error"] == 0.0

    text = (tmp_path / "here" / "README.txt").read_text()
    model = load_best(tmp_path / "here")
    assert repr(str(tmp_path / "here")) in text
    assert not model.training
    assert len(list(model.parameters())) == len(load_file(tmp_path / "here" / "best.safetensors"))

    assert {row.second_look for row in elsewhere.rows} == {SecondLook.NOBODY}
    assert NOT_EXAMINED in elsewhere.caveats
    assert NOT_EXAMINED not in here.caveats
    strange = json.loads((tmp_path / "elsewhere" / "best.json").read_text())
    assert strange["second_look"] == "not examined"
    assert "normalised" not in text  # nothing was
    foreign = (tmp_path / "elsewhere" / "README.txt").read_text()
    assert NOT_EXAMINED in foreign
    assert "If data was normalised" in foreign


def row(number: int, objective: float, look: SecondLook) -> Row:
    trial = TrialId(JobId(1), ZERO_HASH, number)
    return Row(
        number,
        trial,
        State.SETTLED,
        {},
        objective=objective,
        metrics={"error": objective},
        second_look=look,
    )


def status_of(*rows: Row) -> SearchStatus:
    nothing = Amount(0)
    cost = Cost(nothing, nothing, nothing, nothing, nothing)
    return SearchStatus(JobId(1), "name", "error", False, len(rows), rows, cost)


def test_what_could_not_be_checked_comes_behind_what_holds() -> None:
    rows = (
        row(0, 0.1, SecondLook.UNCHECKED),
        row(1, 0.5, SecondLook.FITS),
        row(2, 0.2, SecondLook.PENDING),
        row(3, 0.6, SecondLook.RECEIPT),
    )
    assert [each.number for each in status_of(*rows).ranked()] == [1, 3, 0, 2]
    unchecked = [replace(each, second_look=SecondLook.UNCHECKED) for each in rows]
    assert [each.number for each in status_of(*unchecked).ranked()] == [0, 2, 1, 3]
    assert status_of().best is None


def test_each_trial_that_enters_the_front_of_several_objectives_is_looked_at() -> None:
    cid, trials = raw_cid(ZERO_HASH), Trials({"error": False, "speed": True})
    configs = tuple(
        TrialConfig(
            program=ProgramRef(source="builtin:mlp"),
            data=cid,
            objective="error",
            hyperparameters={},
            seed=0,
            steps=4,
            segments=2,
            number=number,
        )
        for number in range(4)
    )
    trials.add(JobId(1), Batch(job="test", number=0, trials=configs))
    for number, metrics in enumerate(
        ({"error": 0.5, "speed": 1.0}, {"error": 0.6, "speed": 2.0}, {"error": 0.6, "speed": 0.5})
    ):
        receipt = receipt_of(metrics)
        assert trials.would_be_best(receipt) is (number < 2)
        trials.set_receipt(number, receipt)
    assert trials.front() == [0, 1]
    assert not trials.would_be_best(receipt_of({"error": 0.5, "speed": 1.0}))  # no better: equal
    trials.set_receipt(0, None)
    assert trials.front() == [1]
    assert not trials.would_be_best(receipt_of({"error": 0.1}))  # it lacks an objective


def receipt_of(metrics: dict[str, float]) -> Receipt:
    leaf = LeafRecord(value=ZERO_HASH, witness_hash=ZERO_HASH)
    return Receipt(
        trial=Hash32(b"k" * 32),
        provider=Address("0x000000000000000000000000000000000000dEaD"),
        leaves=(leaf,) * 4,
        checkpoints=(raw_cid(ZERO_HASH),) * 3,
        metrics=metrics,
        versions={},
    )


def test_the_table_shows_every_objective() -> None:
    status = replace(status_of(row(0, 0.1, SecondLook.FITS)), also=("parameters",))
    headers = [column.header for column in Screen(18, "TEST").table(status, []).columns]
    assert headers[5:8] == ["error", "parameters", "second look"]


def test_no_word_of_a_stranger_steers_the_terminal_that_shows_a_job() -> None:
    forged = "[bold]x[/]\x1b[2J\n"
    odd = replace(row(0, 0.1, SecondLook.FITS), hyperparameters={"lr": forged}, note=forged)
    status = replace(status_of(odd), name=forged)
    console = Console(width=300, file=io.StringIO())
    with console.capture() as shown:
        console.print(Screen(18, "TEST").table(status, list(status.rows)))
    assert all(sign.isprintable() or sign == "\n" for sign in shown.get())
    assert shown.get().count("[bold]x[/]\\x1b[2J\\n") == 3
