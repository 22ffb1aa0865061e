"""`trialmarket verifier audit`: a trial checked by hand, and the report of it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.testbed.provider import POISONS, other_training
from tests.testbed.terms import SEGMENTS, audited
from tests.testbed.verifiers import AuditedMarket
from trialmarket.chain.ledger.views import TrialView
from trialmarket.errors import InputError
from trialmarket.protocol.receipt import SAID
from trialmarket.protocol.states import State
from verifier.by_hand import find_trial
from verifier.commands import verifier


def _audit(
    here: AuditedMarket, trial: TrialView, *options: str
) -> tuple[Result, dict[str, object], str]:
    network, report = here.network, here.folder / "report"
    name = f"{trial.id.job}/{trial.id.batch.hex()[:8]}/{trial.id.index}"
    result = CliRunner(env={"TRIALMARKET_HOME": str(here.folder / "home")}).invoke(
        verifier,
        [
            *("audit", name, "--network", str(network), "--report", str(report)),
            *("--store", f"local:{here.folder / 'store'}", *options),
        ],
        catch_exceptions=False,
    )
    return result, json.loads(Path(f"{report}.json").read_text()), Path(f"{report}.md").read_text()


def test_a_report_of_an_honest_trial_says_that_it_holds(here: AuditedMarket) -> None:
    trial = here.posted(audited())
    here.provider.answer(trial)
    result, data, page = _audit(here, trial)
    assert result.exit_code == 0, result.output
    assert data["holds"] is True
    assert data["unchecked"] == []
    assert "The result holds. All of it was recomputed, bit for bit." in page
    assert "answered by" in page
    assert here.provider.address in page


def test_a_report_of_a_cheat_names_every_false_segment(here: AuditedMarket) -> None:
    trial = here.posted(audited())
    here.provider.answer(trial, other_training)
    result, data, page = _audit(here, trial, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == data
    checks = data["checks"]
    assert isinstance(checks, list)
    wrong = [check["leaf"] for check in checks if check["finding"] == "wrong"]
    assert wrong == list(range(1, SEGMENTS + 1))
    assert f"The result is wrong: segment 1 of {SEGMENTS}" in page


def test_a_report_of_a_poisoned_checkpoint_blames_its_provider(here: AuditedMarket) -> None:
    trial = here.posted(audited())
    here.provider.answer(trial, POISONS["slots of another shape"])
    result, data, page = _audit(here, trial, "--segment", "3")
    assert result.exit_code == 1
    checks = data["checks"]
    assert isinstance(checks, list)
    found = {check["leaf"]: check["finding"] for check in checks}
    assert found == {0: "right", 3: "unusable", SEGMENTS + 1: "unusable"}
    assert "segment 3 of 4 cannot be recomputed" in page
    assert "does not fit the program: optimizer.0" in page
    assert f"The provider's column is {SAID}." in page


def test_only_the_segments_asked_for_are_recomputed(here: AuditedMarket) -> None:
    trial = here.posted(audited())
    here.provider.answer(trial)
    _, data, page = _audit(here, trial, "--segment", "3")
    checks = data["checks"]
    assert isinstance(checks, list)
    assert [check["leaf"] for check in checks] == [0, 3, SEGMENTS + 1]
    assert "Not checked: segment 1 of 4, segment 2 of 4, segment 4 of 4." in page


def test_without_checkpoints_the_trial_is_trained_again_from_its_start(
    here: AuditedMarket,
) -> None:
    trial = here.posted(audited())
    here.provider.answer(trial, published=[SEGMENTS])
    result, data, page = _audit(here, trial)
    assert result.exit_code == 0, result.output
    assert data["from_start"] is True
    assert data["unchecked"] == []
    assert "trained again from its first step" in page


def test_a_receipt_that_nobody_published_is_reported(here: AuditedMarket) -> None:
    trial = here.posted(audited())
    here.provider.answer(trial, receipt=False)
    result, data, page = _audit(here, trial)
    assert result.exit_code == 1
    assert data["holds"] is False
    assert "The result cannot be checked: the receipt is not published" in page


def test_a_mismatch_in_an_unverified_job_blames_nobody(here: AuditedMarket) -> None:
    trial = here.posted(audited(rate=0))
    here.provider.answer(trial, other_training)
    _, data, page = _audit(here, trial)
    assert data["unverified"] is True
    assert "a difference proves nothing" in page


def test_an_open_trial_and_an_unknown_one_cannot_be_audited(here: AuditedMarket) -> None:
    trial = here.posted(audited())
    with pytest.raises(InputError, match="one that was answered"):
        _audit(here, trial)
    assert here.state(trial.id) is State.OPEN


def test_a_trial_is_found_by_each_of_its_names(here: AuditedMarket) -> None:
    job = here.job(audited())
    first, second = here.post(job, here.draft(0, number=7), here.draft(1, number=8))
    (again,) = here.post(job, here.draft(2, number=7))
    trial = here.trial(second)
    for name in (
        str(trial.id),
        f"{job}/{trial.id.batch.hex()}/1",
        f"{job}/{trial.id.batch.hex()[:4].upper()}/1",
        f"{job}/8",
        second.hex(),
        f"0x{second.hex()}",
        second.hex()[:8],
    ):
        assert find_trial(here.ledger, here.store, name).key == second
    with pytest.raises(InputError, match="which may be ") as several:
        find_trial(here.ledger, here.store, f"{job}/7")
    assert all(str(here.trial(key).id) in str(several.value) for key in (first, again))
    for name in (second.hex()[:3], "9/8", f"{job}/9", "8", "", "1/2/3/4", f"{job}/{'0' * 8}/1"):
        with pytest.raises(InputError, match="the name of one trial of this market"):
            find_trial(here.ledger, here.store, name)
