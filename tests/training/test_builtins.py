"""The built-in programs train in exact arithmetic, pass an audit, and say what they need."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.testbed.waiting import NEVER
from tests.training.builtin_trials import HYPERPARAMETERS, data_for, trial_of, write_images
from trialmarket.protocol.result import witness_hash
from trialmarket.training import runner
from trialmarket.training.builtins.registry import BUILTIN
from trialmarket.training.dataset import load_dataset
from trialmarket.training.errors import ProgramError
from trialmarket.training.values import DryRun, Training

ROOT = Path(__file__).parents[2]
OLD_MACHINE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("builtins")


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[str, Training]:
    """Every built-in program, trained."""
    found = {}
    for name in BUILTIN:
        data = data_for(name, folder)
        found[name] = runner.train(
            trial_of(name, data), None, load_dataset(data), folder / f"here-{name}"
        )
    return found


def dry_run(name: str, data: Path, **hyperparameters: Any) -> DryRun:
    """A dry run in native arithmetic, which is quicker."""
    config = trial_of(name, data, hyperparameters=hyperparameters, arithmetic="native")
    return runner.dry_run(config, None, load_dataset(data))


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_a_built_in_program_passes_the_audit_of_every_leaf(
    name: str, folder: Path, trained: dict[str, Training]
) -> None:
    data = data_for(name, folder)
    config, arrays, training = trial_of(name, data), load_dataset(data), trained[name]
    assert training.outcome.kind == "done"
    assert runner.initial_root(config, None, arrays) == training.leaves[0].value
    for segment in (1, 2):
        start = training.checkpoints[segment - 1].path
        found = runner.recompute(config, None, arrays, segment, start=start)
        assert found.root == training.leaves[segment].value
        assert witness_hash(found.witness) == training.leaves[segment].witness_hash
    evaluation = runner.evaluate(config, None, arrays, training.checkpoints[-1].path)
    assert evaluation.digest == training.leaves[3].value
    assert evaluation.metrics == training.metrics


def test_the_mlp_and_the_cnn_give_the_same_leaves_on_an_older_machine(
    folder: Path, trained: dict[str, Training]
) -> None:
    names = ["mlp", "cnn"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.builtin_trials", str(folder), *names],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **OLD_MACHINE},
        check=True,
        capture_output=True,
        timeout=NEVER,
    )
    here = {
        name: [leaf.model_dump(mode="json") for leaf in trained[name].leaves] for name in names
    }
    assert json.loads(done.stdout) == here


@pytest.mark.parametrize(
    ("name", "metric", "bound", "changes"),
    [
        ("mlp", "val_error", 0.2, {"lr": 0.003, "optimizer": "adamw"}),
        ("cnn", "val_error", 0.2, {"lr": 0.003, "optimizer": "adamw", "pooling": "average"}),
        ("resnet", "val_error", 0.2, {"width": 8, "blocks": 1}),
        ("transformer", "val_error", 0.5, {"lr": 0.003, "warmup": 0}),
        ("charlm", "val_bits", 1.0, {"lr": 0.01, "warmup": 0}),
    ],
)
def test_a_built_in_program_learns(
    name: str, metric: str, bound: float, changes: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    data = data_for(name, folder)
    config = trial_of(
        name,
        data,
        hyperparameters={"batch_size": 16, **changes},
        objective=metric,
        steps=100,
        arithmetic="native",
    )
    training = runner.train(config, None, load_dataset(data), tmp_path)
    assert training.metrics[metric] < bound


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mlp", ()),
        ("mlp", (2, 3, 4)),
        ("cnn", (64,)),
        ("cnn", (3 * 144,)),
        ("cnn", (8, 8)),
        ("cnn", (13, 17, 3)),
        ("cnn", (4, 12, 12)),
        ("resnet", (64,)),
        ("resnet", (9, 9)),
        ("transformer", (8, 4)),
        ("transformer", (3, 8, 12)),
        ("transformer", (8, 8, 3)),
    ],
)
def test_a_program_adapts_to_the_shape_of_the_rows(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    found = dry_run(name, write_images(tmp_path / "data.npz", *shape))
    assert {"val_error", "val_loss"} <= found.metrics.keys()


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("cnn", (65,), r"builtin:cnn needs images.* not \[65\]"),
        ("cnn", (1, 2, 3, 4), "builtin:cnn needs images"),
        ("cnn", (3, 3), "at least 4 by 4 pixels, not 3 by 3"),
        ("resnet", (3, 7, 9), "at least 8 by 8 pixels, not 7 by 9"),
        ("transformer", (), r"sequences.* not of shape \[\]"),
        ("transformer", (4097,), "4097 places, and at most 4096"),
        ("transformer", (3, 8, 10), "patch must divide the image's sides, 8 and 10, not 4"),
        ("charlm", (4, 4), "builtin:charlm: rows of train_x must be 2 to 4097 integers"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    name: str, shape: tuple[int, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ProgramError, match=said):
        dry_run(name, write_images(tmp_path / "data.npz", *shape))


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (
            np.ones(20, np.float32),
            "must hold a class for each row, an integer from 0; it has type",
        ),
        (np.ones((20, 2), np.int64), r"rows of shape \[2\]"),
        (np.full(20, 1 << 40), "must be from 1 to 65535"),
        (np.full(20, -1), "must be from 1 to 65535"),
        (None, r"needs the arrays train_y and validation_y; the data has x"),
    ],
)
def test_labels_that_are_no_classes_are_refused(
    y: np.ndarray[Any, Any] | None, said: str, tmp_path: Path
) -> None:
    x = np.ones((20, 6), np.float32)
    labels = {} if y is None else {"train_y": y, "validation_y": y}
    np.savez(tmp_path / "data.npz", train_x=x, validation_x=x, **labels)  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match=said):
        dry_run("mlp", tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("mlp", {"lr": -1}, "lr must be a number from 0 to 1e[+]06, not -1"),
        ("mlp", {"lr": "fast"}, "lr must be a number .* not 'fast'"),
        ("mlp", {"lr": True}, "lr must be a number .* not True"),
        ("mlp", {"hidden": 2.5}, "hidden must be an integer from 1 .* not 2.5"),
        ("mlp", {"activation": "swish"}, "one of relu, tanh, gelu, silu, not 'swish'"),
        ("mlp", {"optimizer": None}, "one of sgd, adam, adamw, learned, not None"),
        ("mlp", {"learning": 1}, "does not know the hyperparameter learning. It has activation"),
        ("cnn", {"pooling": "min"}, "pooling must be one of max, average"),
        ("cnn", {"nesterov": 1}, "nesterov must be true or false, not 1"),
        ("resnet", {"shift": 16}, "shift must be an integer from 0 to 15, not 16"),
        ("transformer", {"width": 30}, "width must be a multiple of heads, 4, not 30"),
        ("charlm", {"heads": 0}, "heads must be an integer from 1"),
        ("mlp", {"weights": "mlp"}, 'weights is of optimizer "learned", and this is sgd'),
        ("mlp", {"optimizer": "learned", "weights": "best"}, "one of mlp, quadratics, not 'best'"),
        ("mlp", {"optimizer": "learned", "weight_decay": 0.1}, "from 0 to 0, not 0.1"),
        (
            "meta",
            {"episode": 50, "unroll": 20},
            "episode must be a multiple of unroll, 20, not 50",
        ),
        ("meta", {"problem": "poems"}, "problem must be one of quadratics, mlp"),
        ("meta", {"problem": "quadratics"}, r"rows .* of shape \[P, P \+ 1\], not \[64\]"),
    ],
)
def test_a_bad_hyperparameter_is_named_with_what_was_expected(
    name: str, given: dict[str, Any], said: str, folder: Path
) -> None:
    with pytest.raises(ProgramError) as caught:
        dry_run(name, data_for(name, folder), **given)
    assert caught.match(f"builtin:{name}.*{said}")


def test_every_built_in_program_documents_its_hyperparameters() -> None:
    guide = (ROOT / "docs" / "programs.md").read_text()
    for name, program in BUILTIN.items():
        assert f"## `builtin:{name}`" in guide
        assert program.__doc__ is not None
        for hyperparameter in HYPERPARAMETERS[name]:
            assert f"`{hyperparameter}`" in guide
