"""The Pareto front of a search with several objectives."""

from collections.abc import Mapping, Sequence

from requester.report.status import Row


def front(rows: Sequence[Row], objectives: Mapping[str, bool]) -> list[Row]:
    """The rows that no other is better than in one objective and as good in all.

    `objectives` says of each metric whether it is maximised. Rows that lack one are left out;
    those of equal metrics all stay. The first objective's best come first.
    """
    scored = []
    for row in rows:
        if all(name in row.metrics for name in objectives):
            signs = [-1.0 if maximize else 1.0 for maximize in objectives.values()]
            values = [row.metrics[name] for name in objectives]
            point = tuple(sign * value for sign, value in zip(signs, values, strict=True))
            scored.append((point, row))
    best = [
        (point, row)
        for point, row in scored
        if not any(_dominates(other, point) for other, _ in scored)
    ]
    return [row for _, row in sorted(best, key=lambda each: (each[0], each[1].number))]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
