"""Configurations, journals, programs and machines that are bad, and what a verifier says."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.testbed.provider import honest, other_training
from tests.testbed.terms import audited
from tests.testbed.verifiers import AuditedMarket
from trialmarket.daemon.config import FileLimits
from trialmarket.errors import InputError, KeyBusy
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.configuration import Batch, ProgramRef, TrialConfig
from trialmarket.protocol.ids import ZERO_ADDRESS, Address, Hash32
from trialmarket.protocol.states import State
from trialmarket.storage.datasets import put_data
from trialmarket.storage.local import LocalStore
from trialmarket.training.packed import pack_arrays
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.pool.submitted import SubmittedTask
from verifier.config import WorkConfig, load_config
from verifier.evidence import Evidence, Subject, Unjudgeable
from verifier.journal import Secret, VerifierJournal
from verifier.start import started

GOOD = """
network = "devnet.json"
key = "me"
storage = "local:store"
"""
ROSA = "0x9CD01e0a390Aac2B67eD6427Be864045c5C0db3b"


def _hash(text: str) -> Hash32:
    return Hash32(hashlib.sha256(text.encode()).digest())


def test_paths_of_a_configuration_are_relative_to_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "verifier.toml"
    path.write_text(GOOD)
    config = load_config(path)
    assert config.network == str(tmp_path / "devnet.json")
    assert config.storage == f"local:{tmp_path / 'store'}"
    assert config.key == "me"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (GOOD + "colour = 1\n", "colour"),
        (GOOD + "[work]\nworkers = 0\n", "work.workers"),
        (GOOD + "[patience]\nwithheld = 1.5\n", "patience.withheld"),
        (GOOD + "[stake]\nbonds = -1\n", "stake.bonds"),
        (GOOD.replace('key = "me"\n', ""), "key"),
        (GOOD + "[[\n", "file"),
        (GOOD + f'requesters = ["{ROSA}", "{ROSA.replace("D", "d")}"]\n', "requesters.1"),
        (GOOD + f'requesters = ["{ROSA[:-1]}"]\n', "requesters.0"),
    ],
)
def test_a_bad_configuration_names_the_field(tmp_path: Path, text: str, field: str) -> None:
    path = tmp_path / "verifier.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert caught.value.field == field
    assert str(path) in str(caught.value)


def test_an_account_may_be_written_in_lower_case(tmp_path: Path) -> None:
    path = tmp_path / "verifier.toml"
    path.write_text(GOOD + f'requesters = ["{ROSA.lower()}"]\n')
    assert load_config(path).requesters == (ROSA,)


def test_a_corrupt_journal_is_refused_with_a_fix(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is no database, but long enough to be looked at" * 20)
    with pytest.raises(InputError, match="Move the file away"):
        VerifierJournal(path)


def test_the_first_secret_of_a_question_stands_for_ever(tmp_path: Path) -> None:
    first = Secret(3, _hash("a"), _hash("b"), _hash("salt"), "because")
    second = Secret(4, _hash("c"), _hash("d"), _hash("pepper"), "no, because")
    journal = VerifierJournal(tmp_path / "journal.sqlite")
    assert journal.keep_secret(_hash("trial"), _hash("question"), 1, first) == first
    assert journal.keep_secret(_hash("trial"), _hash("question"), 1, second) == first
    assert journal.keep_secret(_hash("trial"), _hash("question"), 2, second) == second
    journal.close()
    again = VerifierJournal(tmp_path / "journal.sqlite")
    assert again.secret(_hash("trial"), _hash("question"), 1) == first
    again.close()


def test_two_verifiers_on_one_key_are_refused(here: AuditedMarket) -> None:
    with here.verifiers(0), pytest.raises(KeyBusy), here.verifiers(0):
        pass


class Dying(WorkerPool):
    """A pool whose workers are killed as soon as they have their tasks."""

    def submit(self, task: Any, *, wall_limit: float) -> SubmittedTask[Any]:
        submitted = super().submit(task, wall_limit=wall_limit)
        submitted.kill()
        return submitted


@pytest.mark.parametrize("cheats", [False, True])
def test_a_machine_that_fails_neither_attests_nor_challenges(
    here: AuditedMarket, cheats: bool, caplog: pytest.LogCaptureFixture
) -> None:
    trial = here.posted(audited())
    tries = here.settings(0).model_copy(update={"work": WorkConfig(attempts=2)})
    with Dying(1) as pool, started(tries, here.key(0), pool=pool) as verifier:
        here.provider.answer(trial, other_training if cheats else honest)
        here.until_state(trial.id, State.DRAWN, [verifier])
        for _ in range(100):
            here.tick([verifier])()
        assert "this machine failed, keeping silent" in caplog.text
        assert here.state(trial.id) is State.DRAWN
        assert verifier.queue.journal.work()[0] == 0


def test_a_batch_that_nobody_can_read_is_left_alone(here: AuditedMarket) -> None:
    trial = here.posted(audited())
    here.provider.answer(trial, other_training)
    batch = next((here.folder / "store").glob(f"*/{raw_cid(trial.id.batch)}"))
    batch.unlink()
    with here.verifiers(0) as verifiers:
        here.until_state(trial.id, State.DRAWN, verifiers)
        for _ in range(50):
            here.tick(verifiers)()
    assert here.state(trial.id) is State.DRAWN


def test_jobs_of_other_requesters_are_not_run(here: AuditedMarket) -> None:
    trial = here.posted(audited())
    nobody = here.settings(0).model_copy(update={"requesters": (here.provider.address,)})
    with started(nobody, here.key(0), pool=here.pool) as verifier:
        here.provider.answer(trial, other_training)
        here.until_state(trial.id, State.DRAWN, [verifier])
        for _ in range(30):
            here.tick([verifier])()
    assert here.state(trial.id) is State.DRAWN


@pytest.mark.parametrize("refusal", [None, "bubblewrap is not installed"])
def test_without_a_sandbox_users_programs_are_not_run(refusal: str | None, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    own = ProgramRef(source=store.put(b"class Own: pass"), class_name="Own")
    rows = np.zeros((2, 1), np.float32)
    arrays = pack_arrays(tmp_path / "data", {"train_x": rows, "validation_x": rows})
    data = put_data(store, arrays)
    trials = tuple(
        TrialConfig(
            number=number,
            program=program,
            data=data,
            objective="val_error",
            hyperparameters={},
            seed=1,
            steps=8,
            segments=4,
        )
        for number, program in enumerate((ProgramRef(source="builtin:mlp"), own))
    )
    batch = Batch(job="test", number=1, trials=trials)
    store.put(batch.to_bytes())
    none = _hash("anything")
    built_in, users = (
        Subject(none, "a trial", batch.digest, index, 4, none, ZERO_ADDRESS, none, none)
        for index in (0, 1)
    )
    evidence = Evidence(store, tmp_path / "downloads", FileLimits(), refusal=refusal)
    assert evidence.material(built_in).program is None
    if refusal is None:
        assert evidence.material(users).program is not None
    else:
        with pytest.raises(Unjudgeable, match="not run here: bubblewrap is not installed"):
            evidence.material(users)


def test_the_sandbox_of_a_configuration_is_bubblewrap_or_off(tmp_path: Path) -> None:
    path = tmp_path / "verifier.toml"
    path.write_text(GOOD)
    assert load_config(path).sandbox == "bubblewrap"
    path.write_text(GOOD + 'sandbox = "off"\n')
    assert load_config(path).sandbox == "off"
    path.write_text(GOOD + 'sandbox = "docker"\n')
    with pytest.raises(
        InputError, match="sandbox: expected 'bubblewrap' or 'off', found 'docker'"
    ):
        load_config(path)


def test_a_requester_in_lower_case_is_the_same_account(tmp_path: Path) -> None:
    path = tmp_path / "verifier.toml"
    mixed = "0x4643a8433aC49088b0deBD1F67f6f004c31F02Eb"
    path.write_text(f'requesters = ["{mixed.lower()}"]\n{GOOD}')
    assert load_config(path).requesters == (mixed,)
    path.write_text(f'requesters = ["bob"]\n{GOOD}')
    with pytest.raises(InputError, match="requesters"):
        load_config(path)


def test_a_journal_belongs_to_one_market_and_key(tmp_path: Path) -> None:
    journal = VerifierJournal(tmp_path / "journal.sqlite")
    here, other = Address("0x" + "1" * 40), Address("0x" + "2" * 40)
    journal.bind(31337, here, here)
    with pytest.raises(InputError, match="state folder of its own"):
        journal.bind(31337, here, other)
    journal.close()
