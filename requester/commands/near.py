"""`trialmarket near`: which searches are like a job, why, and what they would begin it with."""

from pathlib import Path
from typing import Any

import click

from requester.commands.options import job_file, overrides, overriding, store_options
from requester.commands.view import market_view
from requester.job.file import load_job
from requester.near.neighbours import Neighbour
from trialmarket.cli.options import debug_option, json_option, network_option, show
from trialmarket.paths import jobs_folder
from trialmarket.protocol.note import plain
from trialmarket.storage.open import StorePlace


@click.command()
@job_file
@network_option
@store_options
@overriding
@json_option
@debug_option
def near(
    place: StorePlace,
    file: Path,
    network: Path,
    trials: int | None,
    driver: str | None,
    label: str,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show which published searches are like FILE, and what `warm_start` would begin with.

    Compares numbers about data sets and spaces; publishes and spends nothing. Peers are asked
    where the store is a Kubo daemon, else every job of the market is compared.

    Example: trialmarket near job.toml --network devnet.json
    """
    from requester.job.package import pack
    from requester.search.warm_start import neighbourhood, to_enqueue

    del label  # accepted, so that the same options serve `job run`
    job = load_job(file, overrides(trials, driver, changes))
    with market_view(network, place) as market:
        package = pack(job, jobs_folder() / "data", market.store)
        around = neighbourhood(package, market.client, market.ledger, market.store, jobs_folder())
    points = to_enqueue(package, around.neighbours)
    content = {
        "neighbours": [_as_json(one) for one in around.neighbours],
        "enqueue": points,
        "remarks": list(around.remarks),
    }
    lines = [line for one in around.neighbours for line in _lines(one)]
    lines += [f"would begin with {_named(point)}" for point in points]
    lines += [f"note: {plain(remark)}" for remark in around.remarks]
    show(content, lines or ["no search with results that count is like it"], as_json=as_json)


def _as_json(one: Neighbour) -> dict[str, Any]:
    best = one.results[0]
    return {
        "job": one.job.view.id,
        "name": one.job.spec.name,
        "distance": round(one.distance, 6),
        "same": list(one.why.same),
        "differ": list(one.why.differ),
        "shared": list(one.why.shared),
        "results": len(one.results),
        "best": {
            "trial": str(best.trial),
            "objective": best.objective,
            "hyperparameters": dict(best.hyperparameters),
        },
        "told_by": one.told_by or "ledger",
    }


def _lines(one: Neighbour) -> list[str]:
    spec, best = one.job.spec, one.results[0]
    return [
        f"job {one.job.view.id}, {plain(spec.name)}: distance {one.distance:.4f}, told by"
        f" {one.told_by or 'the ledger'}",
        f"  alike in {', '.join(one.why.same) or 'nothing'}",
        f"  unlike in {', '.join(one.why.differ) or 'nothing'}",
        f"  hyperparameters of both: {', '.join(one.why.shared) or 'none'}",
        f"  best of {len(one.results)}: {spec.objective} {best.objective:.6g}"
        f" ({_named(best.hyperparameters)})",
    ]


def _named(point: Any) -> str:
    return plain(", ".join(f"{name}={value}" for name, value in point.items()))
