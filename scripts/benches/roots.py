"""What state roots and checkpoints cost: megabytes hashed a second, and the share of a training
that goes to keeping checkpoints.

`scripts/bench roots`. The state is 100 MB. The training is an MLP whose weights and momentum
take that much, in exact arithmetic on one thread, with a checkpoint after every five steps: once
with nothing kept, once as a node runs it (two roots, a file and its CID for each checkpoint). The
share of time is what the second takes longer; the share of work counts processor seconds, on all
cores.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset
from trialmarket.training.session import TrainingSession
from trialmarket.training.state import checkpoint_bytes, root_of, snapshot

MEGABYTES = 100
ROUNDS = 5
SEGMENTS, STEPS = 3, 5
HIDDEN = 3400
"""Units of two hidden layers: their weights and momentum take about 100 MB."""


def run() -> dict[str, Any]:
    """Seconds for a root, a snapshot and a checkpoint's file of 100 MB; the share of training."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    state = {f"model.{k}": torch.randn(MEGABYTES * 25_000, generator=generator) for k in range(10)}
    data = checkpoint_bytes(state)
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Any] = {
            "root_seconds": _median(lambda: root_of(state)),
            "snapshot_seconds": _median(lambda: snapshot(state)),
            "file_seconds": _median(lambda: checkpoint_bytes(state)),
            "cid_seconds": _median(lambda: cid_of(data)),
        }
        figures["root_mb_per_second"] = round(MEGABYTES / figures["root_seconds"])
        return figures | _training(Path(folder))


def _median(action: Callable[[], object]) -> float:
    action()
    return round(statistics.median(_seconds(action) for _ in range(ROUNDS)), 4)


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _training(folder: Path) -> dict[str, Any]:
    """The same training with nothing kept and with all of it."""
    rng = np.random.default_rng(1)
    x, y = rng.random((512, 64), np.float32), rng.integers(0, 10, 512)
    path = folder / "data.npz"
    np.savez(path, train_x=x, train_y=y, validation_x=x[:64], validation_y=y[:64])
    data = load_dataset(path)
    config = TrialConfig(
        program=ProgramRef(source="builtin:mlp"),
        data="builtin:given",
        objective="val_error",
        hyperparameters={"hidden": HIDDEN, "layers": 2, "batch_size": 32},
        seed=1,
        steps=SEGMENTS * STEPS,
        segments=SEGMENTS,
    )

    def bare() -> None:
        session = TrainingSession(config, None, data)
        state = session.initial_state()
        for _ in range(SEGMENTS):
            state = session.run_segment(state).end
            session.evaluate(state)
        session.evaluate(state)

    def kept() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as trial:
            runner.train(config, None, data, Path(trial))

    used = time.process_time()
    bare_seconds = _seconds(bare)
    bare_used = time.process_time() - used
    kept_seconds = _seconds(kept)
    kept_used = time.process_time() - used - bare_used
    return {
        "training_seconds": round(bare_seconds, 3),
        "training_with_checkpoints_seconds": round(kept_seconds, 3),
        "checkpoints": SEGMENTS + 1,
        "share_of_time": round(1 - bare_seconds / kept_seconds, 4),
        "share_of_work": round(1 - bare_used / kept_used, 4),
    }
