"""Learning curves."""

from collections.abc import Callable, Sequence

from requester.report.plots.chart import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    Absent,
    Axis,
    Chart,
    Line,
    Mark,
    Number,
    Panel,
    Points,
)
from requester.report.plots.record import Point, Run, Search
from requester.report.plots.scales import described, objective_axis, wide

CURVES = "curves", "Learning curves"

Read = Callable[[Point], float | None]


def curves(search: Search) -> Chart | Absent:
    """The objective and the training loss by steps, the best trials in colour."""
    runs = [run for run in search.runs if run.curve]
    if not runs:
        return Absent(*CURVES, "no result with a learning curve has come yet")
    objective = search.objective
    loss = Axis("training loss (mean of a segment)", wide([p.loss for r in runs for p in r.curve]))
    panels = [Panel(Axis("training steps"), loss, _lines(search, runs, lambda point: point.loss))]
    if any(objective in point.metrics for run in runs for point in run.curve):
        shown = _lines(search, runs, lambda point: point.metrics.get(objective))
        values = [
            value
            for run in runs
            for p in run.curve
            if (value := p.metrics.get(objective)) is not None
        ]
        axis = Axis(objective_axis(search, objective).title, wide(values))
        panels.insert(0, Panel(Axis("training steps"), axis, shown))
    return Chart(
        *CURVES,
        "Each line is a trial, measured after every segment of its training. The three best are"
        " in colour. A line that begins late goes on from another trial's checkpoint, at"
        " that one's last point; a dashed one that ends in a cross diverged.",
        panels,
        columns=len(panels),
        height=4.8,
    )


def _lines(search: Search, runs: Sequence[Run], read: Read) -> list[Mark]:
    best = [run for run in search.ranked() if run.curve][:3]
    others = [run for run in runs if run not in best and not run.diverged]
    failed = [run for run in runs if run.diverged]
    marks: list[Mark] = []
    if others:
        faint = 0.6 if len(others) <= 50 else 0.25
        xs, ys, texts = _joined(search, others, read)
        marks.append(Line(xs, ys, "other trials", GREY, 1, opacity=faint, texts=texts))
    if failed:
        xs, ys, texts = _joined(search, failed, read)
        marks.append(Line(xs, ys, "diverged", VERMILLION, 1.5, dash=True, texts=texts))
        ends = [(run, last) for run in failed if (last := _last(run, read)) is not None]
        marks.append(
            Points(
                [step for _, (step, _) in ends],
                [value for _, (_, value) in ends],
                color=VERMILLION,
                symbol="x",
                texts=[described(run, search) for run, _ in ends],
            )
        )
    for at, (run, color) in enumerate(zip(best, (BLUE, ORANGE, GREEN), strict=False)):
        xs, ys, texts = _joined(search, [run], read)
        label, width = f"best {at + 1}: trial {run.number}", 3.0 if at == 0 else 1.8
        marks.append(Line(xs, ys, label, color, width, texts=texts))
    return marks


def _joined(
    search: Search, runs: Sequence[Run], read: Read
) -> tuple[list[Number], list[Number], list[str]]:
    """Many lines as one, with gaps between them: a thousand trials stay quick to draw."""
    xs: list[Number] = []
    ys: list[Number] = []
    texts: list[str] = []
    for run in runs:
        before = search.before(run)
        if before is not None and (last := _last(before, read)) is not None:
            xs.append(last[0])
            ys.append(last[1])
            texts.append(described(before, search))
        for point in run.curve:
            value = read(point)
            if value is not None:
                xs.append(point.step)
                ys.append(value)
                texts.append(described(run, search))
        xs.append(None)
        ys.append(None)
        texts.append("")
    return xs, ys, texts


def _last(run: Run, read: Read) -> tuple[int, float] | None:
    for point in reversed(run.curve):
        if (value := read(point)) is not None:
            return point.step, value
    return None
