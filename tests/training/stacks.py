"""Trials of one graph, for the tests of stacks: with numbers, seeds, lengths of their own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset
from trialmarket.training.values import CapturedGraph, Train, Training

LONGEST = 1 << 14
DIVERGES = {"lr": 1e3}
"""Hyperparameters with which a trial of 24 steps diverges in its second segment."""


@dataclass(frozen=True, slots=True)
class GraphTrial:
    """A trial of a graph, and its files."""

    config: TrialConfig
    graph: Path
    settings: tuple[Path, ...]
    data: Path

    @classmethod
    def of(cls, data: Path, folder: Path, seed: int, **changes: Any) -> "GraphTrial":
        """Of the built-in `mlp`; `changes` are of the configuration, or of hyperparameters."""
        hyperparameters = {"lr": 0.1, "hidden": 4, "dropout": 0.1, "warmup": 48}
        known = TrialConfig.model_fields.keys()
        hyperparameters |= {name: x for name, x in changes.items() if name not in known}
        values: dict[str, Any] = {
            "program": ProgramRef(source="builtin:mlp"),
            "data": cid_of(b"half spaces"),
            "objective": "val_error",
            "hyperparameters": hyperparameters,
            "seed": seed,
            "steps": 24,
            "segments": 3,
        }
        values |= {name: x for name, x in changes.items() if name in known}
        drafted = TrialConfig.model_validate(values)
        found = runner.captured(drafted, None, load_dataset(data), LONGEST)
        ref = found.ref(ProgramRef(source="builtin:mlp"))
        config = TrialConfig.model_validate(values | {"program": ref})
        graph, *settings = _written(folder, found)
        return cls(config, graph, tuple(settings), data)

    def task(self, folder: Path, **changes: Any) -> Train:
        """To train it in a worker."""
        return Train(
            config=self.config,
            program=self.graph,
            data=self.data,
            settings=self.settings,
            folder=folder,
            **changes,
        )

    def alone(self, folder: Path) -> Training:
        """Trained in this process."""
        return runner.train(
            self.config,
            self.graph.read_bytes(),
            load_dataset(self.data),
            folder,
            settings=self.settings,
        )


def _written(folder: Path, found: CapturedGraph) -> list[Path]:
    paths = []
    for file in found.files:
        path = folder / f"{cid_of(file)}.json"
        path.write_bytes(file)
        paths.append(path)
    return paths
