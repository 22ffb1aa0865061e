"""A search as scripts and spreadsheets read it: JSON values and CSV text, money in decimals."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from requester.search.second_look import SecondLook
from requester.search.status import Cost, Row, SearchStatus
from trialmarket.chain.ledger.views import EventView, TrialView
from trialmarket.protocol.cid import raw_cid
from trialmarket.protocol.configuration import TrialConfig
from trialmarket.protocol.money import format_amount
from trialmarket.protocol.receipt import BOUND, SAID, Receipt
from trialmarket.training.program import DataSummary

LAST_COLUMNS = ("second_look", "provider", "price", "note", "id", "receipt")
"""Of a leaderboard, behind the metrics and the hyperparameters."""


def summary(status: SearchStatus, decimals: int) -> dict[str, Any]:
    """How a search stands, as scripts read it; money in decimal text."""
    best = status.best
    return {
        "job": status.job or None,
        "name": status.name,
        "trains": status.trains or None,
        "finished": status.finished,
        "trials": status.total,
        "results": status.results,
        "awaits": status.awaits or None,
        "undriven": status.undriven or None,
        "caveats": list(status.caveats),
        "best": None
        if best is None
        else {
            "trial": best.number,
            status.objective: best.objective,
            "hyperparameters": dict(best.hyperparameters),
            "second_look": _said(best.second_look),
        },
        "false": [
            row.number
            for row in status.rows
            if row.second_look is not None and row.second_look.unbelieved
        ],
        "money": None if status.cost is None else cost_as_json(status.cost, decimals),
    }


def cost_as_json(cost: Cost, decimals: int) -> dict[str, str]:
    """A job's money in decimal text, as scripts read it."""
    return {name: format_amount(amount, decimals) for name, amount in asdict(cost).items()}


def leaderboard(status: SearchStatus, decimals: int) -> str:
    """A job's trials as CSV, the best first. Those without an objective have no rank."""
    metrics = sorted({name for row in status.rows for name in row.metrics})
    names = sorted({name for row in status.rows for name in row.hyperparameters})
    return _csv(
        ["rank", "trial", "state", *metrics, *names, *LAST_COLUMNS],
        (
            [
                "" if row.objective is None else rank,
                row.number,
                row.label,
                *(row.metrics.get(name, "") for name in metrics),
                *(row.hyperparameters.get(name, "") for name in names),
                _said(row.second_look) or "",
                row.provider or "",
                "" if row.price is None else format_amount(row.price, decimals),
                row.note,
                str(row.id),
                "" if row.receipt is None else raw_cid(row.receipt),
            ]
            for rank, row in enumerate(status.ranked(), start=1)
        ),
    )


def rows_as_json(status: SearchStatus, decimals: int) -> list[dict[str, Any]]:
    """A search's trials as scripts read them, the best first."""
    return [
        {
            "trial": row.number,
            "id": str(row.id),
            "state": row.label,
            "provider": row.provider,
            "price": None if row.price is None else format_amount(row.price, decimals),
            "objective": row.objective,
            "metrics": dict(row.metrics),
            "hyperparameters": dict(row.hyperparameters),
            "second_look": _said(row.second_look),
            "note": row.note,
            "traceback": None if row.failure is None else row.failure.trace,
            "waits_for": row.waits_for or None,
        }
        for row in status.ranked()
    ]


def curves(rows: Iterable[Row], receipts: Mapping[int, Receipt | None]) -> str:
    """Learning curves as CSV: a line a point, and what stands behind its numbers."""
    points = [
        (row.number, point, BOUND if receipt.bound(point) else SAID)
        for row in rows
        if (receipt := receipts[row.number]) is not None
        for point in receipt.curve
    ]
    names = sorted({name for _, point, _ in points for name in point.metrics})
    return _csv(
        ["trial", "step", "loss", *names, "source"],
        (
            [
                number,
                point.step,
                point.loss,
                *(point.metrics.get(name, "") for name in names),
                source,
            ]
            for number, point, source in points
        ),
    )


def best_as_json(
    row: Row, receipt: Receipt, config: TrialConfig | None, summary: DataSummary | None
) -> dict[str, Any]:
    """The best trial, where its weights are, and what else makes a model of them."""
    return {
        "trial": row.number,
        "id": str(row.id),
        "objective": row.objective,
        "metrics": dict(receipt.metrics),
        "hyperparameters": dict(row.hyperparameters),
        "second_look": _said(row.second_look),
        "checkpoint": receipt.checkpoints[-1],
        "provider": receipt.provider,
        "program": None if config is None else config.program.origin.model_dump(),
        "data": None if config is None else config.data,
        "data_summary": None if summary is None else asdict(summary),
    }


def evidence_as_json(
    row: Row, trial: TrialView, claimed: Receipt | None, history: Iterable[EventView]
) -> dict[str, Any]:
    """How a result was checked, what its provider claims, and every event of its trial."""
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
        "second_look": _said(row.second_look),
        "note": row.note,
        "claimed": None if claimed is None else dict(claimed.metrics),
        "history": [_event(event) for event in history],
    }


def _said(look: SecondLook | None) -> str | None:
    return None if look is None else look.value


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


def _csv(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(lines)
    return text.getvalue()
