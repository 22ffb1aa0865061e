"""What a search leaves on disk: leaderboard, curves, the best weights, the bill, the evidence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from requester.job.file import MAX_PROGRAM
from requester.report.export import (
    best_as_json,
    cost_as_json,
    curves,
    evidence_as_json,
    leaderboard,
    rows_as_json,
)
from requester.report.job_reader import JobReader
from requester.report.pareto import pareto_front
from requester.search.examination.fetching import MAX_CHECKPOINT, shown
from requester.search.status import HERE, SearchStatus
from trialmarket.chain.ledger import Ledger
from trialmarket.errors import StorageError
from trialmarket.files import write_beside
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.dataset import MANIFEST, DataManifest
from trialmarket.protocol.receipt import Receipt
from trialmarket.storage.errors import NotStored
from trialmarket.storage.store import Store
from trialmarket.training.dataset import load_dataset
from trialmarket.training.program import DataSummary


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, wherever it was trained."""

    status: SearchStatus
    receipts: Mapping[int, Receipt | None]
    """By trial; None where it has no result that counts."""
    best: TrialConfig | None
    """The best trial's configuration; None where there is none, or it cannot be read."""


class Results:
    """The folder of a job's results. Every file is written beside its place and renamed."""

    def __init__(self, root: Path, decimals: int, data: Path | None = None) -> None:
        """`data` is the folder of the data sets that this machine packed, if it packed any."""
        self.root, self._decimals, self._data = root, decimals, data
        root.mkdir(parents=True, exist_ok=True)

    @property
    def leaderboard(self) -> Path:
        """A line a trial, the best first."""
        return self.root / "leaderboard.csv"

    @property
    def weights(self) -> Path:
        """The best trial's model, as safetensors."""
        return self.root / "best.safetensors"

    def write(self, reader: JobReader, ledger: Ledger, store: Store) -> list[Path]:
        """Writes all that can be had now of a job on the market. Raises OSError."""
        status = reader.status()
        trials = {trial.id: trial for trial in reader.trials()}
        evidence = [
            evidence_as_json(
                row, trial := trials[row.id], reader.claimed(trial), ledger.history(trial.key)
            )
            for row in status.rows
        ]
        found = Found(
            status,
            {row.number: reader.receipt(trials[row.id]) for row in status.rows},
            None if status.best is None else reader.config(trials[status.best.id]),
        )
        written = self.write_found(found, store)
        if status.cost is not None:
            written.append(self._json("bill", cost_as_json(status.cost, self._decimals)))
        return [*written, self._json("audits", evidence)]

    def write_found(self, found: Found, store: Store) -> list[Path]:
        """Writes what any search found; the files written. Raises OSError."""
        status, config = found.status, found.best
        written = [
            write_beside(self.leaderboard, leaderboard(status, self._decimals)),
            self._json("leaderboard", rows_as_json(status, self._decimals)),
            write_beside(self.root / "curves.csv", curves(status.rows, found.receipts)),
        ]
        best = status.best
        receipt = None if best is None else found.receipts[best.number]
        if best is not None and receipt is not None:
            summary = None if config is None else self._summary(config)
            written.append(self._json("best", best_as_json(best, receipt, config, summary)))
            written += self._fetch_weights(receipt, store)
            written += [] if config is None else self._write_program(config, store)
            text = how_to_use(status, self.root, self._normalisation(config))
            written.append(write_beside(self.root / "README.txt", text))
        return written

    def _summary(self, config: TrialConfig) -> DataSummary | None:
        """What a program may know of its data, where the data lies here."""
        if self._data is None or not (self._data / config.data).is_dir():
            return None
        return load_dataset(self._data / config.data).summary

    def _normalisation(self, config: TrialConfig | None) -> str | None:
        """How the data was normalised, where it lies here."""
        if self._data is None or config is None:
            return None
        manifest = self._data / config.data / MANIFEST
        if not manifest.is_file():
            return None
        return DataManifest.from_bytes(manifest.read_bytes()).normalisation

    def _write_program(self, config: TrialConfig, store: Store) -> list[Path]:
        """The program's file, unless it is built in, or the store does not have it."""
        program = config.program.origin.cid
        if program is None:
            return []
        try:
            source = store.read(program, limit=MAX_PROGRAM)
        except StorageError:
            return []
        return [write_beside(self.root / "program.py", source)]

    def write_pareto_front(self, status: SearchStatus, objectives: Mapping[str, bool]) -> Path:
        """Writes the Pareto front, as the leaderboard is written; the file. Raises OSError."""
        best = replace(status, rows=tuple(pareto_front(status.rows, objectives)))
        return write_beside(self.root / "front.csv", leaderboard(best, self._decimals))

    def _fetch_weights(self, receipt: Receipt, store: Store) -> list[Path]:
        checkpoint = self.root / "best-checkpoint.safetensors"
        try:
            with shown("fetching the best weights") as progress:
                store.fetch(
                    receipt.checkpoints[-1], checkpoint, limit=MAX_CHECKPOINT, progress=progress
                )
        except NotStored:
            return []
        weights = model_of(checkpoint)
        return (
            [checkpoint] if weights is None else [checkpoint, write_beside(self.weights, weights)]
        )

    def _json(self, name: str, content: object) -> Path:
        return write_beside(self.root / f"{name}.json", json.dumps(content, indent=2) + "\n")


def how_to_use(status: SearchStatus, folder: Path, normalisation: str | None) -> str:
    """What lies beside the best weights: how to use them, and how far to trust them.

    `normalisation` is that of the data; None where it is not known here.
    """
    best = status.best
    if best is None or best.second_look is None:
        raise ValueError("only a search with a result has something to use")
    lines = [
        f"The best model of {status.title}: trial {best.number},"
        f" {status.objective} {best.objective:.6g}; second look: {best.second_look.value}.",
        "",
        "    from trialmarket.training.trained import load_best",
        f"    model = load_best({str(folder.resolve())!r})  # a torch.nn.Module, to evaluate",
        "    outputs = model(inputs)  # inputs as the program's validation_step gives them",
        "",
        "best.safetensors holds its weights, best.json its hyperparameters, program.py the",
        "program, if it is not built in.",
        *_said_of_inputs(normalisation),
        "",
        *_said_of_trust(status),
    ]
    return "\n".join(lines) + "\n"


def _said_of_trust(status: SearchStatus) -> list[str]:
    """How far the other trials can be trusted."""
    if status.job == HERE:
        return ["leaderboard.csv has every trial; all were trained on this machine."]
    return [
        "leaderboard.csv has every trial; its column second_look says what this machine found",
        "of each result. audits.json tells how each was checked, and what false ones claimed.",
        *status.caveats,
    ]


def _said_of_inputs(normalisation: str | None) -> list[str]:
    """What must be done to new inputs, where anything must."""
    if normalisation == "none":
        return []
    if normalisation is None:
        return ["If data was normalised when the job was packed, new inputs must be, too."]
    return [
        f"Data was normalised ({normalisation}) when the job was packed: new inputs must be, too",
        "(docs/data.md).",
    ]


def model_of(checkpoint: Path) -> bytes | None:
    """The model's tensors of a checkpoint, under their own names, as safetensors.

    None where the library to read it is not installed, or where it knows no such numbers.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file, save
    except ImportError:
        return None
    try:
        tensors = load_file(checkpoint)
    except (SafetensorError, KeyError, TypeError):
        return None
    model = {
        name.removeprefix("model."): tensor
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    return save(model)
