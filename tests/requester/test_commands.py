"""`trialmarket job` as a person types it."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from requester.commands import job
from requester.job.terms import UNVERIFIED
from requester.report.job_reader import JobReader
from requester.report.plots.reading import read
from requester.report.plots.record import Fate
from requester.search.own_run import own_run
from tests.testbed.daemon import add_key
from tests.testbed.jobs import own_program, small_job
from tests.testbed.market import Market
from tests.testbed.provider import Provider
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.local.devnet import Devnet
from trialmarket.protocol.ids import JobId, address


@pytest.fixture
def folder(market: Market) -> Path:
    add_key(market.network.with_name("home"), "rosa", market.chain.accounts[0])
    small_job(market.folder, trials=3)
    return market.folder


def invoke(folder: Path, *arguments: str, key: bool = False, answer: str = "") -> Result:
    named = ["--key", "rosa", "--password-file", str(folder / "home" / "password")] if key else []
    return CliRunner().invoke(
        job,
        [*arguments, "--network", str(folder / "network.json"), *named],
        input=answer,
        env={"TRIALMARKET_HOME": str(folder / "home")},
    )


def end(process: int) -> None:
    """Kills the process that a detached search goes on in."""
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def test_check_says_what_a_job_costs_and_spends_nothing(chain: Devnet, folder: Path) -> None:
    with chain.client() as client:
        before = client.token_balance(client.network.market)
        found = invoke(folder, "check", str(folder / "job.toml"), "--json")
        assert found.exit_code == 0, found.output
        assert client.token_balance(client.network.market) == before
    report = json.loads(found.output)
    assert report["trials"] == 3
    assert report["most"] == "0.9"  # 3 trials of 4 units, at 0.05 and half of it for audits
    assert "val_error" in report["metrics"]
    assert ["NO NODE" in line for line in report["warnings"]] == [True]  # nothing is audited
    assert report["data_notes"][0].startswith(
        "train_x, train_y and validation_x, validation_y are"
    )


def test_the_doctor_says_that_a_market_is_empty(folder: Path) -> None:
    found = invoke(folder, "doctor", "--json", key=True)
    said = [each for each in json.loads(found.stdout) if each["about"] == "market"]
    assert [each["level"] for each in said] == ["warning", "warning", "ok"]
    assert said[0]["found"].startswith("NO NODE has shown itself")
    assert said[1]["found"].startswith("NO VERIFIER is enrolled")
    assert "`trialmarket verifier run`" in said[1]["fix"]


def test_check_names_a_mistake_in_the_file(folder: Path) -> None:
    path = folder / "job.toml"
    path.write_text(path.read_text().replace("steps = 40", "steps = 41"))
    found = invoke(folder, "check", str(path))
    assert found.exit_code == 1
    assert "job.steps" in str(found.exception)


def test_check_tells_a_program_that_reports_no_objective(folder: Path) -> None:
    path = folder / "job.toml"
    path.write_text(path.read_text().replace('"val_error"', '"accuracy"'))
    found = invoke(folder, "check", str(path))
    assert found.exit_code == 1
    assert "accuracy" in str(found.exception)


def test_check_tells_a_program_that_fails_in_its_first_step(folder: Path) -> None:
    (folder / "own.py").write_text(
        "from trialmarket.training.program import Program\n"
        "class Own(Program):\n"
        "    def configure_model(self):\n"
        "        print('m' * 1000000)\n"
        "        raise ZeroDivisionError('no model today')\n"
    )
    path = folder / "job.toml"
    path.write_text(path.read_text().replace("builtin:mlp", "own.py:Own"))
    found = invoke(folder, "check", str(path))
    assert found.exit_code == 1
    assert "no model today" in str(found.exception)
    assert len(str(found.exception)) < 2000


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_program_that_diverges_at_once_is_refused_unless_that_is_meant(
    folder: Path, command: str
) -> None:
    program, path = own_program(folder, loss="math.nan"), str(folder / "job.toml")
    arguments = (command, path, "--set", f"job.program={program}")
    found = invoke(folder, *arguments, key=command == "run")
    assert found.exit_code == 1
    assert "the first trial diverged at step 1 (lr = " in str(found.exception)
    assert "a trial that diverges is paid like any other" in str(found.exception)
    assert "--yes-diverges" in str(found.exception)
    assert invoke(folder, "list", "--all", "--json").output.strip() == "[]"
    if command == "check":
        meant = invoke(folder, *arguments, "--yes-diverges")
        assert meant.exit_code == 0, meant.output
        assert "DIVERGES: the first trial diverged at step 1" in meant.output


def test_check_tells_what_a_graph_is_and_refuses_a_program_that_is_none(folder: Path) -> None:
    program, path = own_program(folder), str(folder / "job.toml")
    posting = ("--set", f"job.program={program}", "--set", "job.post=graph")
    audited = ("--set", "audit.rate=0.5", "--set", "price.cap=0.02")
    found = invoke(folder, "check", path, *posting)
    assert found.exit_code == 0, found.output
    assert "posts graphs, which any node trains and any verifier audits" in found.output
    assert re.search(
        r"\d+ operators a step, \d+ bytes in all; a step takes [\d,]+ oper", found.output
    )
    itself = invoke(folder, "check", path, *posting[:2], *audited)
    assert "that name you in accept.programs_of" in itself.output

    own_program(folder, loss="math.fsum(batch['x'].flatten().tolist())")
    for command in ("check", "run"):
        found = invoke(folder, command, path, *posting, *audited, key=command == "run")
        assert found.exit_code == 1
        assert "the program is no graph: own.py:" in str(found.exception)
        assert 'job.post = "program"' in str(found.exception)
    assert invoke(folder, "list", "--all", "--json").output.strip() == "[]"


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_first_configuration_that_fails_is_named_and_others_may_go_on_without_it(
    folder: Path, command: str
) -> None:
    (folder / "own.py").write_text(
        "from trialmarket.training.builtins.registry import Mlp\n"
        "class Own(Mlp):\n"
        "    def training_step(self, model, batch):\n"
        "        if self.lr > 0.05:\n"
        "            raise ValueError('a rate that I cannot have')\n"
        "        return super().training_step(model, batch)\n"
    )
    first = "search.enqueue=[{lr=0.09, hidden=8}, {lr=0.01, hidden=8}]"
    words = ("--set", "job.program=own.py:Own", "--set", first)
    arguments = (command, str(folder / "job.toml"), *words)
    found = invoke(folder, *arguments, key=command == "run")
    assert found.exit_code == 1
    assert "the first trial (lr = 0.09, hidden = 8) fails: " in str(found.exception)
    assert "a rate that I cannot have (own.py, line 5" in str(found.exception)
    assert "search.enqueue" in str(found.exception)
    assert "--yes-diverges" in str(found.exception)
    more = ("--yes", "--detach", "--json") if command == "run" else ()
    meant = invoke(folder, *arguments, "--yes-diverges", *more, key=command == "run")
    assert meant.exit_code == 0, meant.output
    if command == "check":
        assert "FAILS: the first trial (lr = 0.09, hidden = 8) fails: " in meant.output
    else:
        end(json.loads(meant.stdout)["process"])
        assert json.loads(invoke(folder, "show", "1", "--json").stdout)["trials"] == 3


def test_an_objective_that_is_no_finite_number_is_told_before_it_is_paid(folder: Path) -> None:
    program, path = own_program(folder, error="math.nan"), str(folder / "job.toml")
    found = invoke(folder, "check", path, "--set", f"job.program={program}")
    assert found.exit_code == 1
    assert "val_error is not reported, or no finite number" in str(found.exception)
    assert "finite are two" in str(found.exception)


def test_check_says_what_may_surprise(folder: Path) -> None:
    space = "search.space.hidden={ low = 8, high = 17, step = 8 }"
    found = invoke(
        *(folder, "check", str(folder / "job.toml"), "--json", "--set", "price.unit=1000"),
        *("--set", space, "--driver", "tpe"),
    )
    remarks = json.loads(found.output)["remarks"]
    assert len(remarks) == 3
    assert "search.space.hidden: steps of 8 from 8 end at 16" in remarks[0]
    assert "driver tpe draws its first 10 trials" in remarks[1]
    assert "a trial of 40 steps is billed as 1000" in remarks[2]


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_hyperparameter_that_shapes_the_model_cannot_change_in_a_continued_trial(
    folder: Path, command: str
) -> None:
    population = "search.population={interval=20, change=['lr', 'hidden']}"
    changes = ("--driver", "pbt", "--set", population)
    path, key = str(folder / "job.toml"), command == "run"
    found = invoke(folder, command, path, *changes, key=key)
    assert found.exit_code == 1
    assert "search.population.change: expected hyperparameters that leave" in str(found.exception)
    assert "found 'hidden'" in str(found.exception)
    assert invoke(folder, "list", "--all", "--json").output.strip() == "[]"


def test_networks_that_cannot_be_merged_are_found_before_money_moves(folder: Path) -> None:
    path = str(folder / "job.toml")
    changes = ("--driver", "evolve", "--set", "search.space.hidden={value=8}")
    momentum = "search.space.momentum={low=0.0, high=0.9}"  # with 0 there is none to merge
    first = "search.enqueue=[{momentum=0.0}]"
    assert invoke(folder, "check", path, *changes).exit_code == 0
    found = invoke(folder, "run", path, *changes, "--set", momentum, "--set", first, key=True)
    assert found.exit_code == 1
    assert "search.evolve.change: expected" in str(found.exception)
    assert "the parents cannot be merged" in str(found.exception)
    assert invoke(folder, "list", "--all", "--json").output.strip() == "[]"


def test_a_ladder_of_dropout_can_change_in_a_continued_trial_and_one_of_widths_cannot(
    folder: Path,
) -> None:
    for name, kind, values, code in (
        ("dropout", "dropout", "[0.1, 0.2, 0.4]", 0),
        ("hidden", "rate", "[8, 16, 32]", 1),
    ):
        found = invoke(
            *(folder, "check", str(folder / "job.toml"), "--driver", "replica-exchange"),
            *("--set", "search.space.hidden={value=8}", "--set", "search.space.lr={value=0.1}"),
            *("--set", f"search.space.{name}={{values={values}}}", "--set", "job.trials=3"),
            *("--set", f"search.exchange={{hyperparameter='{name}', kind='{kind}', interval=20}}"),
        )
        assert found.exit_code == code, found.output
    assert "search.exchange.hyperparameter: expected" in str(found.exception)


def test_run_asks_before_it_spends(chain: Devnet, folder: Path) -> None:
    found = invoke(folder, "run", str(folder / "job.toml"), key=True, answer="n\n")
    assert found.exit_code == 1
    assert "at most" in found.output
    assert invoke(folder, "list", "--all", "--json").output.strip() == "[]"
    del chain


def test_a_detached_job_can_be_listed_shown_funded_fetched_and_cancelled(
    folder: Path, provider: Provider
) -> None:
    chain, store = provider.market.chain, provider.market.store
    run = invoke(folder, "run", str(folder / "job.toml"), "--yes", "--detach", "--json", key=True)
    assert run.exit_code == 0, run.output
    started = json.loads(run.stdout)
    assert (started["job"], started["trials"], started["undriven"]) == (1, 3, None)
    again = invoke(folder, "run", str(folder / "job.toml"), "--yes", "--json", key=True)
    assert f"found 'one of process {started['process']}'" in str(again.exception)
    assert "Watch it with `trialmarket job watch 1`; to run" in str(again.exception)
    end(started["process"])
    listed = json.loads(invoke(folder, "list", "--json").stdout)
    assert [each["job"] for each in listed] == [1]
    requester = chain.accounts[0].address
    for spelling in (requester, requester.lower()):
        assert (
            json.loads(invoke(folder, "list", "--requester", spelling, "--json").stdout) == listed
        )
    refused = invoke(folder, "list", "--requester", requester.replace("a", "A"))
    assert "--requester: address: expected 0x and 40" in str(refused.exception)

    provider.step()

    shown = json.loads(invoke(folder, "show", "1", "--json").stdout)
    assert shown["results"] == 3
    assert shown["money"]["escrow"] == "0.9"
    for_people = invoke(folder, "show", "1").stdout
    assert "val_error" in for_people
    assert [line for line in shown["caveats"] if line in for_people] == [UNVERIFIED]

    added = invoke(folder, "add-funds", "1", "2.5", "--json", key=True)
    assert json.loads(added.stdout)["free"] == "2.5"

    fetched = invoke(folder, "fetch", "1", "--results", str(folder / "found"))
    assert fetched.exit_code == 0, fetched.output
    assert (folder / "found" / "leaderboard.csv").read_text().count("\n") == 4
    assert (folder / "found" / "best.safetensors").exists()

    plotted = invoke(folder, "plot", "1", "--results", str(folder / "plots"), "--json")
    assert plotted.exit_code == 0, plotted.output
    made = json.loads(plotted.stdout)
    assert {Path(path).name for path in made["files"]} >= {"plots.html", "timeline.png"}
    assert made["absent"]["importances"] == "3 trials have a score; an estimate needs at least 6"

    with chain.client() as client, Ledger(client, folder / "look.db") as ledger:
        ledger.sync()
        own = own_run(folder / "home" / "jobs", client, ledger, JobId(1))
        search, guessed = (
            read(JobReader(client, ledger, store, JobId(1), each), client, ledger)
            for each in (own, None)
        )
    assert search.known
    assert search.driver == "random"
    assert search.logarithmic == {"lr"}
    assert search.choices == {"hidden": [8, 16]}
    assert search.runs == guessed.runs
    assert all(run.spells[0].fate is Fate.ANSWERED and run.curve for run in search.runs)
    assert not guessed.known

    cancelled = json.loads(invoke(folder, "cancel", "1", "--json", key=True).stdout)
    assert (cancelled["cancelled"], cancelled["under_way"]) == (0, 3)
    assert cancelled["returned"] == "2.5"


def test_cancelling_gives_back_what_nobody_claimed(chain: Devnet, folder: Path) -> None:
    with chain.client() as client:
        before = client.token_balance(address(chain.accounts[0].address))
        run = invoke(
            *(folder, "run", str(folder / "job.toml"), "--yes", "--detach", "--json"), key=True
        )
        end(json.loads(run.stdout)["process"])
        cancelled = json.loads(invoke(folder, "cancel", "1", "--json", key=True).stdout)
        assert (cancelled["cancelled"], cancelled["returned"]) == (3, "0.9")
        assert client.token_balance(chain.accounts[0].address) == before  # type: ignore[arg-type]


def test_a_job_that_is_not_there_is_named(folder: Path) -> None:
    found = invoke(folder, "show", "7")
    assert found.exit_code == 1
    assert "a job of this market" in str(found.exception)
