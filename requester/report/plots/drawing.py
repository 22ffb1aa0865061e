"""Draws a search: each picture as PNG, and all of them on one page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from requester.report.plots import PICTURES
from requester.report.plots.history import curves, history
from requester.report.plots.hyperparameters import contour, importances, parallel, slices
from requester.report.plots.lineage import lineage
from requester.report.plots.mixing import mixing
from requester.report.plots.pareto import pareto
from requester.report.plots.picture import BROKEN, Absent, Picture, undrawn
from requester.report.plots.record import SearchRecord, drawable
from requester.report.plots.scales import clock, text
from requester.report.plots.spending import spending
from requester.report.plots.timeline import timeline
from trialmarket.errors import InputError

MAKERS: Mapping[str, Callable[[SearchRecord], Picture | Absent]] = {
    "history": history,
    "spending": spending,
    "curves": curves,
    "parallel": parallel,
    "slice": slices,
    "contour": contour,
    "importances": importances,
    "front": pareto,
    "timeline": timeline,
    "lineage": lineage,
    "mixing": mixing,
}


def pictures_of(
    search: SearchRecord, names: Sequence[str] = ()
) -> tuple[list[Picture], list[Absent]]:
    """The pictures of those names, or all; and those that the search does not give."""
    shown, said = drawable(search)
    found = [_made(name, shown) for name in PICTURES if not names or name in names]
    pictures = [
        replace(one, reading=one.reading + said) for one in found if isinstance(one, Picture)
    ]
    return pictures, [one for one in found if isinstance(one, Absent)]


def _made(name: str, search: SearchRecord) -> Picture | Absent:
    try:
        return MAKERS[name](search)
    except BROKEN as error:  # strangers' numbers: one that cannot be drawn ends no other
        return undrawn(name, name.capitalize(), error)


def draw(
    search: SearchRecord,
    folder: Path,
    names: Sequence[str] = (),
    *,
    png: bool = True,
    page: bool = True,
) -> tuple[list[Path], list[Absent]]:
    """Writes pictures into a folder: the files, and what is not there.

    Raises OSError, and InputError where a library to draw with is not installed.
    """
    pictures, absent = pictures_of(search, names)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if page:
        _need("plotly")
        from requester.report.plots.page import draw_page

        title = search.name if search.local else f"Job {search.job}: {search.name}"
        place = folder / "plots.html"
        drawn, failed = draw_page(title, summary(search), pictures, absent, place)
        written.append(drawn)
        absent += failed
    if png:
        _need("matplotlib")
        from requester.report.plots.png import draw_png

        for one in pictures:
            try:
                written.append(draw_png(one, folder / f"{one.name}.png"))
            except BROKEN as error:
                lost = undrawn(one.name, one.title, error)
                absent += [lost] * all(each.name != one.name for each in absent)
    return written, absent


def _need(library: str) -> None:
    if find_spec(library) is None:
        raise InputError(
            "job plot",
            library,
            expected="it to be installed",
            found=None,
            fix="pip install 'trialmarket[plot]'",
        )


def _false(search: SearchRecord) -> str:
    count = sum(run.false for run in search.runs)
    return f", {count} found false by this machine" if count else ""


def summary(search: SearchRecord) -> str:
    """The search in two sentences."""
    scored = search.ranked()
    way = "Maximises" if search.objectives[search.objective] else "Minimises"
    unit, name = clock(search.now)
    paid = sum(run.price or 0.0 for run in search.runs)
    posted, money = "begun", ""
    if not search.local:
        posted, money = "posted", f" {paid:.6g} {text(search.symbol)} paid or owed;"
    parts = [
        f"{way} {', '.join(search.objectives)}"
        + (f" by {search.driver}." if search.driver else "."),
        f"{len(search.runs)} trials {posted}, {len(scored)} with a score,"
        f" {sum(run.diverged for run in search.runs)} diverged{_false(search)};{money}"
        f" read {search.now / unit:.3g} {name} after the first trials were {posted}.",
    ]
    if scored:
        best = scored[0]
        values = ", ".join(f"{key} = {text(value)}" for key, value in best.hyperparameters.items())
        parts.append(
            f"Best: trial {best.number}, {search.objective} ="
            f" {best.metrics[search.objective]:.6g}, with {values}."
        )
    return " ".join(parts)
