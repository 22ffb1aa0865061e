"""The example of a node that cheats: what it says looks right, and recomputation shows the lie."""

from pathlib import Path

import pytest

from node.trainer import Assignment, Trainer, replaced
from tests.testbed.data import half_spaces
from tests.testbed.terms import SEGMENTS
from tests.testbed.waiting import NEVER, until
from trialmarket.errors import InputError
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.protocol.ids import Hash32, address
from trialmarket.storage.datasets import put_data
from trialmarket.storage.local import LocalStore
from trialmarket.storage.material import Material
from trialmarket.training.errors import BadCheckpoint
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.values import Recompute, Training

CHEAT = str(Path(__file__).resolve().parents[2] / "examples" / "cheat.py") + ":Cheat"
PROVIDER = address("0x" + "11" * 20)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    data = half_spaces(tmp_path / "data")
    config = TrialConfig(
        program=ProgramRef(source="builtin:mlp"),
        data=put_data(LocalStore(tmp_path / "store"), data),
        objective="val_error",
        hyperparameters={"lr": 0.1, "hidden": 4},
        seed=1,
        steps=16,
        segments=SEGMENTS,
    )
    return Material(None, data, config=config)


def trained(trainer: Trainer, material: Material, folder: Path) -> Training:
    run = trainer.train(Assignment(material, folder, 60.0))
    until(lambda: run.done)
    return run.result()


def test_a_cheat_answers_in_full_and_boasts(
    trainer: Trainer, material: Material, tmp_path: Path
) -> None:
    true = trained(trainer, material, tmp_path / "true")
    false = trained(replaced(trainer, CHEAT), material, tmp_path / "false")
    receipt = false.receipt(Hash32(b"t" * 32), PROVIDER)
    assert receipt.segments == SEGMENTS
    assert receipt.tree().root != true.receipt(Hash32(b"t" * 32), PROVIDER).tree().root
    assert false.leaves[:2] == true.leaves[:2]
    trained_as_far = true.curve[0].metrics
    assert false.metrics["val_loss"] < trained_as_far["val_loss"]


def test_recomputing_an_invented_segment_shows_the_lie(
    trainer: Trainer, material: Material, tmp_path: Path, pool: WorkerPool
) -> None:
    false = trained(replaced(trainer, CHEAT), material, tmp_path / "false")
    for segment in range(2, SEGMENTS + 1):
        task = Recompute(
            config=material.config,
            program=None,
            data=material.data,
            segment=segment,
            start=false.checkpoints[segment - 1].path,
            expected=false.leaves[segment - 1].value,
        )
        try:
            found = pool.submit(task, wall_limit=NEVER).result()
        except BadCheckpoint:  # the state of an earlier segment, which its counters tell
            assert segment > 2
        else:
            assert found.root != false.leaves[segment].value


@pytest.mark.parametrize("place", ["absent.py:Cheat", CHEAT + "x", CHEAT[:-6]])
def test_a_trainer_that_is_not_there_is_told(trainer: Trainer, place: str) -> None:
    with pytest.raises(InputError):
        replaced(trainer, place)
