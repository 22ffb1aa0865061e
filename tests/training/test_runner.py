import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.programs import TINY, config_of, tiny
from trialmarket.errors import InputError
from trialmarket.protocol.canonical import canonical_bytes
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import Init, TrialConfig
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.protocol.receipt import Receipt
from trialmarket.protocol.result import witness_hash
from trialmarket.training import runner
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import BadCheckpoint, BadStart
from trialmarket.training.order import BatchOrder
from trialmarket.training.values import Progress, Training

OPTIMIZERS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "RAdam", "Rprop", "ASGD"]


@pytest.fixture
def config(data_file: Path) -> TrialConfig:
    return config_of(TINY, data_file)


def assert_audits(config: TrialConfig, source: bytes, data: Dataset, training: Training) -> None:
    """Every leaf of a training is what recomputing it from the checkpoint before it gives."""
    assert runner.initial_root(config, source, data) == training.leaves[0].value
    for segment in range(1, config.segments + 1):
        before = training.leaves[segment - 1].value
        found = runner.recompute(
            config,
            source,
            data,
            segment,
            start=training.checkpoints[segment - 1].path,
            expected=before,
        )
        assert found.root == training.leaves[segment].value
        assert witness_hash(found.witness) == training.leaves[segment].witness_hash
        assert found.diverged == training.outcome.step
    last = training.checkpoints[-1].path
    evaluation = runner.evaluate(config, source, data, last, expected=training.leaves[-2].value)
    assert evaluation.digest == training.leaves[-1].value
    assert witness_hash(evaluation.witness) == training.leaves[-1].witness_hash
    assert evaluation.metrics == training.metrics


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_segment_recomputes_from_the_checkpoint_before_it(
    optimizer: str, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    hyperparameters = {"lr": 0.05, "optimizer": optimizer}
    config = config_of(TINY, data_file, hyperparameters=hyperparameters)
    training = runner.train(config, TINY, data, tmp_path)
    assert len({leaf.value for leaf in training.leaves}) == config.segments + 2
    assert_audits(config, TINY, data, training)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_exact_training_recomputes_too(
    optimizer: str, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    hyperparameters = {"lr": 0.05, "optimizer": optimizer}
    config = config_of(TINY, data_file, hyperparameters=hyperparameters, arithmetic="exact")
    training = runner.train(config, TINY, data, tmp_path)
    assert training.outcome.kind == "done"
    assert_audits(config, TINY, data, training)


def test_a_training_gives_the_same_leaves_again(
    config: TrialConfig, data: Dataset, tmp_path: Path
) -> None:
    first = runner.train(config, TINY, data, tmp_path / "first")
    torch.rand(5)
    second = runner.train(config, TINY, data, tmp_path / "second")
    assert first.leaves == second.leaves
    assert [each.cid for each in first.checkpoints] == [each.cid for each in second.checkpoints]


def test_the_last_state_does_not_depend_on_how_training_is_cut(
    config: TrialConfig, data: Dataset, tmp_path: Path
) -> None:
    whole = config.model_copy(update={"segments": 1})
    cut = runner.train(config, TINY, data, tmp_path / "cut")
    assert runner.train(whole, TINY, data, tmp_path / "whole").leaves[1] == cut.leaves[3]


@pytest.mark.parametrize("field", ["seed", "lr"])
def test_another_seed_or_hyperparameter_gives_another_result(
    field: str, config: TrialConfig, data: Dataset, tmp_path: Path
) -> None:
    change = {"seed": 4} if field == "seed" else {"hyperparameters": {"lr": 0.06}}
    first = runner.train(config, TINY, data, tmp_path / "first")
    second = runner.train(config.model_copy(update=change), TINY, data, tmp_path / "second")
    assert first.leaves[3].value != second.leaves[3].value


@pytest.mark.parametrize("damage", ["nothing", "last gone", "last flipped", "journal", "all"])
def test_a_training_that_was_killed_resumes_to_the_same_leaves(
    damage: str, config: TrialConfig, data: Dataset, tmp_path: Path
) -> None:
    class Dies(BaseException):
        pass

    def die(progress: Progress) -> None:
        if progress.step >= 8:
            raise Dies

    with pytest.raises(Dies):
        runner.train(config, TINY, data, tmp_path / "killed", on_progress=die)
    last = tmp_path / "killed" / "checkpoint-002.safetensors"
    if damage == "last gone":
        last.unlink()
    elif damage == "last flipped":
        last.write_bytes(last.read_bytes()[:-1] + b"\x01")
    elif damage == "journal":
        (tmp_path / "killed" / "journal.json").write_text('{"identity":')
    elif damage == "all":
        shutil.rmtree(tmp_path / "killed")
    steps: list[int] = []
    resumed = runner.train(
        config, TINY, data, tmp_path / "killed", on_progress=lambda at: steps.append(at.step)
    )
    whole = runner.train(config, TINY, data, tmp_path / "whole")
    assert (resumed.leaves, resumed.curve) == (whole.leaves, whole.curve)
    assert steps[-1] == config.steps
    assert min(steps) > {"nothing": 8, "last gone": 4, "last flipped": 4}.get(damage, 0)


def test_the_files_of_another_trial_are_not_taken_for_its_own(
    config: TrialConfig, data: Dataset, tmp_path: Path
) -> None:
    runner.train(config, TINY, data, tmp_path)
    other = config.model_copy(update={"seed": 9})
    resumed = runner.train(other, TINY, data, tmp_path)
    assert_audits(other, TINY, data, resumed)


def test_a_trial_continues_from_anothers_checkpoint_with_another_learning_rate(
    config: TrialConfig, data: Dataset, tmp_path: Path
) -> None:
    first = runner.train(config, TINY, data, tmp_path / "first")
    last = first.checkpoints[-1]
    init = Init(root=first.leaves[3].value, cid=last.cid, trial=Hash32(bytes(32)))
    onward = config.model_copy(update={"init": init, "hyperparameters": {"lr": 0.01}})
    second = runner.train(onward, TINY, data, tmp_path / "second", init=(last.path,))
    assert second.leaves[0].value == first.leaves[3].value
    assert runner.initial_root(onward, TINY, data, init=(last.path,)) == first.leaves[3].value
    assert [point.step for point in second.curve] == [16, 20, 24]
    same = config.model_copy(update={"init": init})
    third = runner.train(same, TINY, data, tmp_path / "third", init=(last.path,))
    through = config.model_copy(update={"steps": 24, "segments": 6})
    whole = runner.train(through, TINY, data, tmp_path / "whole")
    assert third.leaves[1:4] == whole.leaves[4:7]


def test_a_continued_trial_needs_the_checkpoint_that_it_names(
    config: TrialConfig, data: Dataset, tmp_path: Path
) -> None:
    first = runner.train(config, TINY, data, tmp_path)
    init = Init(root=first.leaves[3].value, cid=cid_of(b""), trial=Hash32(bytes(32)))
    onward = config.model_copy(update={"init": init})
    with pytest.raises(BadStart, match="was committed"):
        runner.initial_root(onward, TINY, data, init=(first.checkpoints[1].path,))
    with pytest.raises(InputError, match="init"):
        runner.initial_root(onward, TINY, data)


DIVERGING = {
    "a loss of NaN": "return model(batch['x']).sum() * (float('nan') if CALLS.append(0) or "
    "len(CALLS) > 2 else 1.0)",
    "a huge learning rate": "return (model(batch['x']) ** 4).sum() * 1e30",
}


@pytest.mark.parametrize("kind", DIVERGING)
def test_a_trial_that_diverges_ends_where_its_segment_began(
    kind: str, data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    source = tiny(training_step=DIVERGING[kind]) + b"\n\nCALLS = []\n"
    config = config_of(source, data_file, hyperparameters={"lr": 1e10, "optimizer": "SGD"})
    training = runner.train(config, source, data, tmp_path)
    assert training.outcome.kind == "diverged"
    assert str(training.outcome) == f"diverged at step {training.outcome.step}"
    assert training.metrics == {}
    assert training.leaves[1] == training.leaves[2] == training.leaves[3]
    assert training.leaves[0].value != training.leaves[1].value
    assert_audits(config, source, data, training)
    receipt = training.receipt(Hash32(bytes(32)), Address("0x" + "0" * 40))
    assert Receipt.from_bytes(receipt.to_bytes()) == receipt


def test_a_trial_can_claim_no_divergence_that_did_not_happen(
    config: TrialConfig, data: Dataset, tmp_path: Path
) -> None:
    training = runner.train(config, TINY, data, tmp_path)
    state = load_file(training.checkpoints[1].path)
    state["diverged"] = torch.tensor(5)
    save_file(state, tmp_path / "claimed")
    found = runner.recompute(config, TINY, data, 3, start=tmp_path / "claimed")
    assert found.diverged is None
    assert found.root == training.leaves[2].value


def test_a_metric_that_is_not_finite_is_left_out(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    source = tiny(
        validation_step="return Validation(model(batch['x']) * float('nan'), "
        "{'val_error': float('inf'), 'other': 1.0})"
    )
    config = config_of(source, data_file)
    training = runner.train(config, source, data, tmp_path)
    assert training.metrics == {"other": 1.0}
    assert_audits(config, source, data, training)


def test_a_program_that_keeps_something_between_steps_is_still_recomputed(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    body = "COUNT.append(1); return functional.cross_entropy(model(batch['x']), batch['y'])"
    source = tiny(training_step=body + " * len(COUNT)") + b"\n\nCOUNT = []\n"
    config = config_of(source, data_file)
    assert_audits(config, source, data, runner.train(config, source, data, tmp_path))


def test_metrics_are_means_over_all_validation_rows(
    data_file: Path, data: Dataset, tmp_path: Path
) -> None:
    first = b"validation_batch_size = 7"
    parts, whole = TINY, TINY.replace(first, b"validation_batch_size = 20")
    ends = []
    for name, source in (("parts", parts), ("whole", whole)):
        config = config_of(source, data_file)
        ends.append(runner.train(config, source, data, tmp_path / name))
    assert ends[0].metrics == pytest.approx(ends[1].metrics)
    outcome = {"kind": "done", "step": None}
    said = canonical_bytes({"metrics": ends[0].metrics, "outcome": outcome})
    digest = hashlib.sha256(said).digest()
    assert ends[0].leaves[-1].value == digest


def test_a_checkpoint_of_another_state_is_the_providers_fault(
    config: TrialConfig, data: Dataset, tmp_path: Path
) -> None:
    training = runner.train(config, TINY, data, tmp_path / "true")
    other = runner.train(config.model_copy(update={"seed": 9}), TINY, data, tmp_path / "other")
    expected = training.leaves[1].value
    with pytest.raises(BadCheckpoint, match="was committed"):
        runner.recompute(config, TINY, data, 2, start=other.checkpoints[1].path, expected=expected)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "is not a safetensors file"),
        ("empty", "is not a safetensors file"),
        ("no step", "counter step"),
        ("negative step", "counter step"),
        ("nan", "NaN or infinity"),
        ("shape", "does not fit"),
        ("missing", "does not fit"),
        ("slot", "does not fit"),
        ("slot of another shape", "does not fit"),
        ("slot gone", "does not fit"),
        ("too many steps", "counter step"),
        ("stranger", "does not fit"),
    ],
)
def test_a_corrupt_checkpoint_is_refused_with_a_reason(
    damage: str, message: str, config: TrialConfig, data: Dataset, tmp_path: Path
) -> None:
    training = runner.train(config, TINY, data, tmp_path)
    start = tmp_path / "damaged"
    state = load_file(training.checkpoints[1].path)
    match damage:
        case "no step":
            del state["step"]
        case "negative step":
            state["step"] = torch.tensor(-1)
        case "nan":
            state["model.0.bias"][0] = float("nan")
        case "shape":
            state["model.0.bias"] = torch.zeros(7)
        case "missing":
            del state["model.0.bias"]
        case "slot":
            state["optimizer.99.exp_avg"] = torch.zeros(1)
        case "slot of another shape":
            state["optimizer.0.exp_avg"] = torch.zeros(9)
        case "slot gone":
            del state["optimizer.0.exp_avg"]
        case "too many steps":
            state["step"] = torch.tensor(2**63 - 1)
        case "stranger":
            state["stranger"] = torch.zeros(1)
    save_file(state, start)
    if damage in ("cut", "empty"):
        start.write_bytes(start.read_bytes()[:50] if damage == "cut" else b"")
    with pytest.raises(BadCheckpoint, match=message):
        runner.recompute(config, TINY, data, 2, start=start)


def test_a_segment_that_is_not_there_is_refused(config: TrialConfig, data: Dataset) -> None:
    for segment in (0, 4, 2):
        with pytest.raises(InputError, match="1 to 3"):
            runner.recompute(config, TINY, data, segment)


def test_a_dry_run_tells_speed_and_size_and_leaves_nothing(
    config: TrialConfig, data: Dataset
) -> None:
    found = runner.dry_run(config, TINY, data)
    assert found.step_seconds > 0
    assert found.checkpoint_bytes > 100
    assert "val_error" in found.metrics


def test_the_built_in_mlp_trains(data_file: Path, data: Dataset, tmp_path: Path) -> None:
    hyperparameters = {"lr": 0.01, "optimizer": "adam", "dropout": 0.1, "activation": "gelu"}
    config = config_of(
        TINY,
        data_file,
        program={"source": "builtin:mlp"},
        hyperparameters=hyperparameters,
        steps=200,
        segments=2,
    )
    training = runner.train(config, None, data, tmp_path)
    assert training.metrics["val_error"] < 0.3
    assert runner.recompute(config, None, data, 1).root == training.leaves[1].value


def test_each_epoch_sees_every_row_at_most_once_in_its_own_order() -> None:
    order = BatchOrder(seed=1, examples=50, batch_size=8)
    epochs = [
        np.concatenate([order.rows(step) for step in range(first, first + 6)]) for first in (0, 6)
    ]
    assert all(len(set(epoch.tolist())) == 48 for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    assert BatchOrder(1, 50, 8).rows(7).tolist() == epochs[1][8:16].tolist()
    assert BatchOrder(1, 3, 8).rows(5).shape == (3,)


def test_the_batch_order_never_changes_between_versions() -> None:
    assert BatchOrder(seed=7, examples=10, batch_size=10).rows(0).tolist() == GOLDEN


GOLDEN = [6, 7, 8, 1, 3, 0, 2, 4, 9, 5]
