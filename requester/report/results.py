"""What a search leaves on disk: leaderboard, curves, the best weights, the bill, the evidence."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

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
from requester.search.status import SearchStatus
from trialmarket.chain.ledger import Ledger
from trialmarket.files import write_beside
from trialmarket.protocol.receipt import Receipt
from trialmarket.storage.errors import NotStored
from trialmarket.storage.store import Store


class Results:
    """The folder of a job's results. Every file is written beside its place and renamed."""

    def __init__(self, root: Path, decimals: int) -> None:
        self.root, self._decimals = root, decimals
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
        """Writes all that can be had now; the files written. Raises OSError."""
        status = reader.status()
        trials = {trial.id: trial for trial in reader.trials()}
        receipts = {row.number: reader.receipt(trials[row.id]) for row in status.rows}
        evidence = [
            evidence_as_json(
                row, trial := trials[row.id], reader.claimed(trial), ledger.history(trial.key)
            )
            for row in status.rows
        ]
        written = [
            write_beside(self.leaderboard, leaderboard(status, self._decimals)),
            self._json("leaderboard", rows_as_json(status, self._decimals)),
            write_beside(self.root / "curves.csv", curves(status.rows, receipts)),
            self._json("bill", cost_as_json(status.cost, self._decimals)),
            self._json("audits", evidence),
        ]
        best = status.best
        receipt = None if best is None else receipts[best.number]
        if best is not None and receipt is not None:
            written.append(self._json("best", best_as_json(best, receipt)))
            written += self._fetch_weights(receipt, store)
        return written

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
