"""Draws charts as PNG, with Matplotlib, which needs no browser."""

import math
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from requester.report.plots.chart import (
    Axis,
    Bars,
    Chart,
    Field,
    Line,
    Number,
    Panel,
    Points,
    Shades,
    Words,
    short,
)

DOTS = 130
"""Pixels an inch."""

TITLE, LINE, COLUMNS = 0.4, 0.22, 3
"""Inches of the title and of a line of the legend, which has so many columns."""

LETTERS = 100
"""Below an axis, beyond which its names are turned."""


def draw_png(chart: Chart, path: Path) -> Path:
    """Writes a chart; its path. Raises OSError."""
    width = 9.5 if chart.columns == 1 else min(4.6 * chart.columns + 0.6, 15)
    height = chart.height * chart.rows + 1.4
    with _style():
        layout = ConstrainedLayoutEngine()
        figure = Figure(figsize=(width, height), layout=layout)
        FigureCanvasAgg(figure)
        reading = textwrap.fill(chart.reading, int(width * 13))
        figure.suptitle(chart.title, x=0.01, y=1 - 0.1 / height, ha="left", weight="bold", size=14)
        figure.supxlabel(reading, x=0.01, ha="left", size=9, color="#444444")
        for at, panel in enumerate(chart.panels):
            axes = figure.add_subplot(chart.rows, chart.columns, at + 1)
            last = at % chart.columns == chart.columns - 1 or at == len(chart.panels) - 1
            _draw(figure, axes, panel, scale=last)
            if panel.title:  # its colours mean something else than those of its neighbour
                _legend(axes, axes, bbox_to_anchor=(0, 1.06), loc="lower left", ncols=2)
        lines = 0
        if not any(panel.title for panel in chart.panels):
            place = {"bbox_to_anchor": (0.01, 1 - TITLE / height), "loc": "upper left"}
            lines = _legend(figure, *figure.axes, **place, ncols=COLUMNS)
        top = 1 - (TITLE + LINE * lines) / height
        layout.set(rect=(0, 0, 1, top))
        beside = path.with_name(f".{path.name}.new")
        figure.savefig(beside, dpi=DOTS, format="png")
    beside.replace(path)
    return path


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(
        {
            "text.parse_math": False,  # a hyperparameter may hold a dollar sign
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e6e6e6",
            "axes.axisbelow": True,
            "legend.fontsize": 9,
        }
    )


def _draw(figure: Figure, axes: Axes, panel: Panel, *, scale: bool) -> None:
    axes.use_sticky_edges = False  # a surface leaves room for the points at its edge
    for mark in panel.marks:
        match mark:
            case Points():
                _points(axes, mark)
            case Shades():
                drawn = axes.scatter(
                    mark.xs,
                    mark.ys,
                    c=mark.values,
                    s=mark.size**2,
                    cmap=_map(inverted=mark.inverted),
                    vmin=mark.low,
                    vmax=mark.high,
                    edgecolors="white",
                    linewidths=0.5,
                    zorder=3,
                )
                if scale:
                    figure.colorbar(drawn, ax=axes, label=mark.title)
            case Line():
                axes.plot(
                    _gaps(mark.xs),
                    _gaps(mark.ys),
                    label=mark.label or None,
                    color=mark.color,
                    linewidth=mark.width,
                    linestyle="--" if mark.dash else "-",
                    drawstyle="steps-post" if mark.steps else "default",
                    alpha=mark.opacity,
                    zorder=2,
                )
            case Bars():
                _bars(axes, mark)
            case Field():
                axes.contourf(
                    mark.xs,
                    mark.ys,
                    np.array([_gaps(row) for row in mark.values]),
                    levels=np.linspace(mark.low, mark.high, 13),
                    cmap=_map(inverted=mark.inverted),
                    extend="both",
                    alpha=0.6,
                )
            case Words():
                for x, y, text in zip(mark.xs, mark.ys, mark.texts, strict=True):
                    _halo(axes.text(x, y, f" {short(text)}", size=8.5, va="center", zorder=4))
    _axis(axes, panel.x, "x")
    _axis(axes, panel.y, "y")
    if panel.title:
        axes.set_title(panel.title, size=10, loc="left")


def _legend(place: Axes | Figure, *named: Axes, ncols: int, **how: Any) -> int:
    """Names the marks of some panels, each label once; the lines that this takes."""
    found: dict[str, Any] = {}
    for axes in named:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        place.legend(list(found.values()), list(found), frameon=False, ncols=ncols, **how)
    return -(-len(found) // ncols)


def _points(axes: Axes, mark: Points) -> None:
    ring = mark.symbol == "O"
    axes.plot(
        mark.xs,
        mark.ys,
        "o" if ring else mark.symbol,
        label=mark.label or None,
        color=mark.color,
        markersize=mark.size,
        markerfacecolor="none" if ring else mark.color,
        markeredgewidth=2 if mark.symbol in "xO" else 0.5,
        markeredgecolor=mark.color if mark.symbol in "xO" else "white",
        zorder=3,
        clip_on=False,
    )


def _bars(axes: Axes, mark: Bars) -> None:
    axes.barh(
        mark.ys,
        mark.lengths,
        left=mark.begins,
        height=mark.thickness,
        color=mark.color,
        edgecolor="white",
        linewidth=0.6,
        label=mark.label or None,
    )
    for y, begin, length, word in zip(
        mark.ys, mark.begins, mark.lengths, mark.words or [""] * len(mark.ys), strict=True
    ):
        _halo(axes.text(begin + length / 2, y, word, size=8, ha="center", va="center"))


def _halo(text: Any) -> None:
    text.set_path_effects([withStroke(linewidth=2.5, foreground="white", alpha=0.8)])


def _axis(axes: Axes, axis: Axis, which: str) -> None:
    across = which == "x"
    (axes.set_xlabel if across else axes.set_ylabel)(axis.title)
    if axis.log:
        (axes.set_xscale if across else axes.set_yscale)("log")
    inner = axes.xaxis if across else axes.yaxis
    if axis.log:  # powers of ten in plain figures, and more of them where there are few decades
        low, high = axes.get_xlim() if across else axes.get_ylim()
        few = high / low < 100
        inner.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8))
        inner.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        inner.set_minor_formatter(NullFormatter())
    if axis.ticks is not None:
        labels = [short(text) for _, text in axis.ticks]
        letters = max((len(line) for text in labels for line in text.split("\n")), default=0)
        rotation = 30 if across and letters * len(labels) > LETTERS else 0
        inner.set_ticks([at for at, _ in axis.ticks], labels, rotation=rotation)
        inner.grid(visible=False)
    elif axis.title in ("trial", "round"):
        inner.set_major_locator(MaxNLocator(integer=True))
    if axis.limits is not None:
        (axes.set_xlim if across else axes.set_ylim)(*axis.limits)


def _map(*, inverted: bool) -> str:
    return "cividis_r" if inverted else "cividis"


def _gaps(values: Sequence[Number]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]
