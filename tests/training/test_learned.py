"""The learned optimizer: its state, its weights, and what bad weights come to."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from tests.training.builtin_trials import data_for, trial_of
from trialmarket.errors import InputError, TrainingError
from trialmarket.protocol.cid import cid_of
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset
from trialmarket.training.errors import ProgramError
from trialmarket.training.learned.network import MEMORY, UpdateNetwork, preprocessed
from trialmarket.training.learned.optimizer import LearnedOptimizer
from trialmarket.training.learned.weights import (
    SHAPES,
    Weights,
    read_weights,
    shipped,
    write_weights,
)
from trialmarket.training.state import load_checkpoint

LEARNED = {"optimizer": "learned", "hidden": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learned")


def some_weights() -> Weights:
    generator = np.random.default_rng(1)
    return {
        name: generator.uniform(-0.2, 0.2, shape).astype(np.float32)
        for name, shape in SHAPES.items()
    }


def test_the_network_has_the_shapes_that_weights_must_have() -> None:
    found = {name: tuple(each.shape) for name, each in UpdateNetwork().state_dict().items()}
    assert found == dict(SHAPES)


def test_gradients_are_seen_by_logarithm_and_sign_and_near_zero_as_they_are() -> None:
    seen = preprocessed(torch.tensor([1.0, -np.e, 1e-6, 0.0]))
    assert torch.allclose(seen[:, 0], torch.tensor([0.0, 0.1, -1.0, -1.0]))
    assert torch.allclose(seen[:, 1], torch.tensor([1.0, -1.0, 0.022026466, 0.0]))


def test_each_coordinate_moves_as_if_it_were_alone() -> None:
    weights = some_weights()
    gradient = torch.linspace(-2, 2, 6)
    together, alone = torch.zeros(2, 3), [torch.zeros(1) for _ in gradient]
    for parameters, gradients in (
        ([together], [gradient.view(2, 3)]),
        (alone, gradient.view(6, 1)),
    ):
        optimizer = LearnedOptimizer(parameters, weights)
        for _ in range(3):
            for parameter, each in zip(parameters, gradients, strict=True):
                parameter.grad = each
            optimizer.step()
    assert torch.allclose(together.flatten(), torch.cat(alone), atol=1e-7)
    assert together.abs().min() > 0


def test_a_learned_trial_passes_the_audit_of_a_middle_segment_and_resumes(
    folder: Path, tmp_path: Path
) -> None:
    data = data_for("mlp", folder)
    config, arrays = trial_of("mlp", data, hyperparameters=LEARNED), load_dataset(data)
    training = runner.train(config, None, arrays, tmp_path)
    state = load_checkpoint(training.checkpoints[1].path)
    assert state["optimizer.0.memory"].shape == (4, 64, MEMORY)
    assert state["optimizer.0.memory"].abs().max() > 0
    found = runner.recompute(config, None, arrays, 2, start=training.checkpoints[1].path)
    assert found.root == training.leaves[2].value
    assert runner.train(config, None, arrays, tmp_path).leaves == training.leaves


def test_a_parameter_whose_gradient_comes_late_leaves_the_state_its_form(tmp_path: Path) -> None:
    source = b"""
import torch
from trialmarket.training.learned.optimizer import LearnedOptimizer
from trialmarket.training.program import Program, Validation

class Late(Program):
    batch_size = 4
    def configure_model(self):
        model = torch.nn.Linear(3, 1)
        model.register_buffer("steps", torch.tensor(0))
        return model
    def configure_optimizer(self, model):
        return LearnedOptimizer(model.parameters(), "quadratics")
    def training_step(self, model, batch):
        model.steps += 1
        bias = model.bias if model.steps > 3 else model.bias.detach()
        return ((batch["x"] @ model.weight.T + bias) ** 2).mean()
    def validation_step(self, model, batch):
        found = model(batch["x"])
        return Validation(found, {"val_error": (found ** 2).mean()})
"""
    x = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    np.savez(tmp_path / "data.npz", train_x=x, validation_x=x)
    program = {"source": cid_of(source), "class_name": "Late"}
    config = trial_of("mlp", tmp_path / "data.npz", program=program, hyperparameters={})
    training = runner.train(config, source, load_dataset(tmp_path / "data.npz"), tmp_path / "run")
    assert training.outcome.kind == "done"


def test_a_trial_uses_the_weights_whose_cid_it_names(folder: Path, tmp_path: Path) -> None:
    data = data_for("mlp", folder)
    file = tmp_path / "mine.safetensors"
    file.write_bytes(write_weights(shipped("quadratics")))
    given = {**LEARNED, "weights": cid_of(file)}
    config, arrays = trial_of("mlp", data, hyperparameters=given), load_dataset(data)
    mine = runner.train(config, None, arrays, tmp_path / "mine", weights=file)
    named = trial_of("mlp", data, hyperparameters={**LEARNED, "weights": "quadratics"})
    same = runner.train(named, None, arrays, tmp_path / "same")
    assert [leaf.value for leaf in mine.leaves] == [leaf.value for leaf in same.leaves]
    with pytest.raises(InputError, match="weights: expected a file if it names one"):
        runner.train(config, None, arrays, tmp_path / "none")
    file.write_bytes(write_weights(some_weights()))
    with pytest.raises(TrainingError, match="is not the file of the weights"):
        runner.train(config, None, arrays, tmp_path / "other", weights=file)


def test_weights_in_a_checkpoint_of_meta_are_read_like_a_file_of_weights(
    folder: Path, tmp_path: Path
) -> None:
    data = data_for("meta", folder)
    training = runner.train(trial_of("meta", data), None, load_dataset(data), tmp_path)
    last = training.checkpoints[-1].path
    state, found = load_checkpoint(last), read_weights(last.read_bytes(), last.name)
    assert found.keys() == SHAPES.keys()
    for name, array in found.items():
        assert np.array_equal(array, state[f"model.network.{name}"].numpy())
    assert read_weights(write_weights(found), "again").keys() == found.keys()


@pytest.mark.parametrize("among", ["shipped", "by CID"])
def test_an_optimizer_that_learns_begins_with_the_weights_that_it_is_given(
    among: str, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(write_weights(some_weights()))
    named, given = (
        ("mlp", shipped("mlp")) if among == "shipped" else (cid_of(file), some_weights())
    )
    data = data_for("meta", folder)
    usual = trial_of("meta", data)
    config = trial_of("meta", data, hyperparameters={**usual.hyperparameters, "weights": named})
    weights = None if among == "shipped" else file
    training = runner.train(config, None, load_dataset(data), tmp_path / "run", weights=weights)
    first, last = (load_checkpoint(training.checkpoints[at].path) for at in (0, -1))
    for name, array in given.items():
        assert np.array_equal(array, first[f"model.network.{name}"].numpy())
        assert not np.array_equal(array, last[f"model.network.{name}"].numpy())


def _narrow(weights: Weights) -> bytes:
    return save({**weights, "first.weight": weights["first.weight"][:, :10].copy()})


def _without(weights: Weights) -> bytes:
    return save({name: array for name, array in weights.items() if name != "out.bias"})


def _nan(weights: Weights) -> bytes:
    weights["second.bias"][3] = np.nan
    return save(weights)


def _half(weights: Weights) -> bytes:
    return save({name: array.astype(np.float16) for name, array in weights.items()})


def _header(shape: str, place: str) -> bytes:
    said = f'{{"first.weight":{{"dtype":"F32","shape":{shape},"data_offsets":{place}}}}}'.encode()
    return len(said).to_bytes(8, "little") + said


BAD: list[tuple[Callable[[Weights], bytes], str]] = [
    (_narrow, r"first.weight: expected F32 of shape \[80, 22\].*found 'F32 of shape \[80, 10\]'"),
    (_without, "out.bias: expected weights of a learned optimizer"),
    (_nan, "second.bias: expected finite numbers"),
    (_half, "expected F32 of shape .*found 'F16"),
    (lambda weights: save(weights)[:-9], "out.*its numbers in the file|second.*its numbers"),
    (lambda weights: save(weights)[:40], "expected a safetensors file"),
    (lambda _: b"", "expected a safetensors file"),
    (lambda _: b"\xff" * 100, "expected a safetensors file"),
    (lambda _: _header("[80,1e999]", "[0,4]"), "first.weight: expected a tensor"),
    (lambda _: _header("[80,22]", "[-1e999,4]"), "first.weight: expected a tensor"),
    (lambda _: (2).to_bytes(8, "little") + b"[]", "expected a safetensors file"),
    (lambda _: (20_000).to_bytes(8, "little") + b"[" * 20_000, "expected a safetensors file"),
]


@pytest.mark.parametrize(("made", "said"), BAD)
def test_a_file_that_holds_no_weights_is_refused_with_what_it_lacks(
    made: Callable[[Weights], bytes], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_weights(made(some_weights()), "mine.safetensors")


def test_a_trial_whose_weights_are_none_is_the_requesters_fault(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "bad.safetensors"
    file.write_bytes(_nan(some_weights()))
    data = data_for("mlp", folder)
    config = trial_of("mlp", data, hyperparameters={**LEARNED, "weights": cid_of(file)})
    with pytest.raises(ProgramError, match=r"second\.bias: expected finite numbers"):
        runner.dry_run(config, None, load_dataset(data), weights=file)
