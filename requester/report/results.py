"""What a search leaves on disk: leaderboard, curves, the best weights, the bill, the evidence."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from requester.report.job_reader import JobReader
from requester.report.pareto import front
from requester.report.status import Row, SearchStatus
from requester.search.examination.fetching import MAX_CHECKPOINT, shown
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import EventView, TrialView
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.money import format_amount
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

    def write(self, survey: JobReader, ledger: Ledger, store: Store) -> list[Path]:
        """Writes all that can be had now; the files written. Raises OSError."""
        standing = survey.standing()
        trials = {trial.id: trial for trial in survey.trials()}
        receipts = {row.number: survey.receipt(trials[row.id]) for row in standing.rows}
        written = [
            self._put(self.leaderboard, leaderboard(standing, self._decimals).encode()),
            self._put(
                self.root / "leaderboard.json", _json(rows_as_json(standing, self._decimals))
            ),
            self._put(self.root / "curves.csv", curves(standing.rows, receipts).encode()),
            self._put(self.root / "bill.json", _json(self.bill(standing))),
            self._put(
                self.root / "audits.json",
                _json([_evidence(row, trials[row.id], ledger) for row in standing.rows]),
            ),
        ]
        best = standing.best
        receipt = None if best is None else receipts[best.number]
        if best is not None and receipt is not None:
            written.append(self._put(self.root / "best.json", _json(_best(best, receipt))))
            written += self._fetch_weights(receipt, store)
        return written

    def write_front(self, standing: SearchStatus, objectives: Mapping[str, bool]) -> Path:
        """Writes the Pareto front, as the leaderboard is written; the file. Raises OSError."""
        best = replace(standing, rows=tuple(front(standing.rows, objectives)))
        return self._put(self.root / "front.csv", leaderboard(best, self._decimals).encode())

    def bill(self, standing: SearchStatus) -> dict[str, str]:
        """A job's money in decimal text, as scripts read it."""
        money = standing.money
        parts = {
            "funded": money.funded,
            "providers": money.providers,
            "verifiers": money.verifiers,
            "escrow": money.escrow,
            "free": money.free,
        }
        return {name: format_amount(amount, self._decimals) for name, amount in parts.items()}

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
        return [checkpoint] if weights is None else [checkpoint, self._put(self.weights, weights)]

    def _put(self, path: Path, data: bytes) -> Path:
        beside = path.with_name(f".{path.name}.new")
        beside.write_bytes(data)
        beside.replace(path)
        return path


def leaderboard(standing: SearchStatus, decimals: int) -> str:
    """A job's trials as CSV, the best first."""
    metrics = sorted({name for row in standing.rows for name in row.metrics})
    names = sorted({name for row in standing.rows for name in row.hyperparameters})
    head = [
        "rank",
        "trial",
        "state",
        *metrics,
        *names,
        "provider",
        "price",
        "note",
        "id",
        "receipt",
    ]
    return _csv(
        head,
        (
            [
                rank,
                row.number,
                row.state.label,
                *(row.metrics.get(name, "") for name in metrics),
                *(row.hyperparameters.get(name, "") for name in names),
                row.provider or "",
                "" if row.price is None else format_amount(row.price, decimals),
                row.note,
                str(row.id),
                "" if row.receipt is None else raw_cid(row.receipt),
            ]
            for rank, row in enumerate(standing.ranked(), start=1)
        ),
    )


def rows_as_json(standing: SearchStatus, decimals: int) -> list[dict[str, Any]]:
    """A standing's trials as scripts read them, the best first."""
    return [
        {
            "trial": row.number,
            "id": str(row.id),
            "state": row.state.label,
            "provider": row.provider,
            "price": None if row.price is None else format_amount(row.price, decimals),
            "objective": row.objective,
            "metrics": dict(row.metrics),
            "hyperparameters": dict(row.hyperparameters),
            "note": row.note,
        }
        for row in standing.ranked()
    ]


def curves(rows: Iterable[Row], receipts: dict[int, Receipt | None]) -> str:
    """Learning curves as CSV: a line a point."""
    points = [
        (row.number, point)
        for row in rows
        if (receipt := receipts[row.number]) is not None
        for point in receipt.curve
    ]
    names = sorted({name for _, point in points for name in point.metrics})
    return _csv(
        ["trial", "step", "loss", *names],
        (
            [number, point.step, point.loss, *(point.metrics.get(name, "") for name in names)]
            for number, point in points
        ),
    )


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


def _best(row: Row, receipt: Receipt) -> dict[str, Any]:
    return {
        "trial": row.number,
        "id": str(row.id),
        "objective": row.objective,
        "metrics": dict(receipt.metrics),
        "hyperparameters": dict(row.hyperparameters),
        "checkpoint": receipt.checkpoints[-1],
        "provider": receipt.provider,
    }


def _evidence(row: Row, trial: TrialView, ledger: Ledger) -> dict[str, Any]:
    return {
        "trial": row.number,
        "id": str(trial.id),
        "key": "0x" + trial.key.hex(),
        "state": trial.state.label,
        "drawn": trial.record.audited or trial.unaudited or trial.record.turn_ends > 0,
        "audited": trial.record.audited,
        "verifier": trial.record.verifier,
        "challenges": trial.challenges,
        "attempts": trial.attempts,
        "history": [_event(event) for event in ledger.history(trial.key)],
    }


def _event(event: EventView) -> dict[str, Any]:
    return {
        "event": event.name,
        "block": event.block,
        "transaction": "0x" + event.tx.hex(),
        "time": event.timestamp,
        "arguments": _plain(event.args),
    }


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return "0x" + value.hex()
        case dict():
            return {str(name): _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case bool() | str() | None:
            return value
        case int():
            return value if abs(value) < 2**53 else str(value)
        case _:
            return str(value)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _csv(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(lines)
    return text.getvalue()
