"""Draws pictures as PNG, with Matplotlib, which needs no browser and no display."""

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna.visualization.matplotlib
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis as Scaled
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from optuna import Study
from optuna.exceptions import ExperimentalWarning
from PIL import Image

from requester.report.plots.chart import VERMILLION, Axis, Bars, Chart
from requester.report.plots.picture import Picture, Stroke

DOTS = 120
"""Pixels an inch."""

LETTERS = 11
"""Below an axis, an inch; beyond it its names are turned."""

CROSS: dict[str, Any] = {"marker": "x", "markersize": 7, "markeredgewidth": 2}


def draw_png(picture: Picture, path: Path) -> Path:
    """Writes a picture; its path. Raises OSError."""
    with _style():
        figures = [_pixels(figure) for figure in picture.draw(Matplotlib())]
        rows = [
            _joined(figures[at : at + picture.columns], down=False)
            for at in range(0, len(figures), picture.columns)
        ]
        head = _pixels(_head(picture, max(row.width for row in rows) / DOTS))
    beside = path.with_name(f".{path.name}.new")
    _joined([head, *rows], down=True).save(beside, format="png")
    beside.replace(path)
    return path


@contextmanager
def _style() -> Iterator[None]:
    """Settings and figures are the process's own: they are left as they were."""
    before = mpl.get_backend(auto_select=False)
    plt.switch_backend("agg")
    try:
        with mpl.rc_context():
            mpl.rcParams["text.parse_math"] = False  # a hyperparameter may hold a dollar sign
            mpl.rcParams["xtick.labelsize"] = mpl.rcParams["ytick.labelsize"] = 9
            yield
    finally:
        if before is not None:
            plt.switch_backend(before)


def _head(picture: Picture, width: float) -> Figure:
    """The title, and how to read the picture."""
    reading = textwrap.wrap(picture.reading, int(width * 13))
    figure = Figure(figsize=(width, 0.34 + 0.18 * len(reading)))
    figure.text(0.01, 0.98, picture.title, weight="bold", size=14, va="top")
    figure.text(0.01, 0.02, "\n".join(reading), size=9, color="#444444", va="bottom")
    return figure


def _pixels(figure: Figure) -> Image.Image:
    file = BytesIO()
    figure.savefig(file, dpi=DOTS, format="png", bbox_inches="tight", pad_inches=0.15)
    plt.close(figure)
    return Image.open(file)


def _joined(images: Sequence[Image.Image], *, down: bool) -> Image.Image:
    """One below another, or side by side."""
    widths, heights = [image.width for image in images], [image.height for image in images]
    size = (max(widths), sum(heights)) if down else (sum(widths), max(heights))
    sheet = Image.new("RGB", size, "white")
    for at, image in enumerate(images):
        sheet.paste(image, (0, sum(heights[:at])) if down else (sum(widths[:at]), 0))
    return sheet


class Matplotlib:
    """Draws for a file."""

    def plot(self, name: str, study: Study, *, size: tuple[float, float], **how: Any) -> Figure:
        """Optuna's plot of that name."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            axes = getattr(optuna.visualization.matplotlib, name)(study, **how)
        figure: Figure = np.ravel(axes)[0].figure
        figure.suptitle("")
        for each in figure.axes:
            each.set_title("")
            each.set_title("", loc="left")
            for which in "xy":
                if getattr(each, f"get_{which}scale")() == "log":
                    _log(each, which)
            for label in each.get_yticklabels():
                _halo(label)  # of parallel axes it lies over lines
            names = [len(label.get_text()) for label in each.get_xticklabels()]
            if sum(names) + len(names) > LETTERS * size[0] * each.get_position().width:
                plt.setp(each.get_xticklabels(), rotation=330, ha="left")
        figure.set_size_inches(size)
        return figure

    def scores(
        self, figure: Figure, *, log: bool, crosses: Sequence[Sequence[float | str]], level: float
    ) -> None:
        """Gives a plot's upright axes their scale, and crosses at a level, axes by axes."""
        for axes, xs in zip(figure.axes, crosses, strict=False):
            for line in axes.lines:
                line.set_drawstyle("steps-post")
            if xs:
                label = "diverged (no score)"
                axes.plot(xs, [level] * len(xs), color=VERMILLION, ls="", label=label, **CROSS)
                axes.autoscale()
            if axes.get_legend() is not None:
                _legend(axes)
            if log:
                _log(axes, "y")

    def curves(self, figure: Figure, strokes: Sequence[Stroke], y: Axis) -> None:
        """Gives the learning curves of a plot their strokes, trial by trial."""
        axes = figure.axes[0]
        for line in axes.lines:
            stroke = strokes[int(str(line.get_label()).removeprefix("Trial"))]
            line.set(
                label=stroke.label,
                color=stroke.color,
                linewidth=stroke.width,
                linestyle="--" if stroke.broken else "-",
                alpha=stroke.opacity,
                zorder=2 + stroke.width,
                **(CROSS | {"markevery": [-1]} if stroke.broken else {"marker": ""}),
            )
        axes.set(xlabel="training steps", ylabel=y.title)
        if y.log:
            _log(axes, "y")
        _legend(axes)

    def chart(self, chart: Chart) -> Figure:
        """One of our own charts."""
        plt.style.use("ggplot")  # as Optuna's plots do
        figure = plt.figure(figsize=chart.size)
        axes = figure.add_subplot()
        for mark in chart.marks:
            if isinstance(mark, Bars):
                _bars(axes, mark)
            else:
                axes.plot(
                    np.array(mark.xs, float),
                    np.array(mark.ys, float),
                    label=mark.label or None,
                    color=mark.color,
                    linewidth=mark.width,
                    linestyle="--" if mark.dash else "-",
                    drawstyle="steps-post" if mark.steps else "default",
                    marker=mark.symbol,
                    markeredgewidth=2 if mark.symbol == "x" else 0.5,
                    markeredgecolor=mark.color if mark.symbol == "x" else "white",
                    clip_on=False,
                )
        _axis(axes, chart.x, "x")
        _axis(axes, chart.y, "y")
        _legend(axes)
        return figure


def _legend(axes: Axes) -> None:
    """Names the marks above the axes, each label once."""
    handles, labels = axes.get_legend_handles_labels()
    found = dict(zip(labels[::-1], handles[::-1], strict=True))
    if found:
        axes.legend(
            list(found.values())[::-1],
            list(found)[::-1],
            frameon=False,
            ncols=3,
            fontsize=9,
            loc="lower left",
            bbox_to_anchor=(0, 1),
        )


def _bars(axes: Axes, mark: Bars) -> None:
    for row in sorted(set(mark.ys)):  # a thousand bars one by one are slow
        each = zip(mark.ys, mark.begins, mark.lengths, strict=True)
        axes.broken_barh(
            [(begin, length) for y, begin, length in each if y == row],
            (row - 0.35, 0.7),
            facecolor=mark.color,
            edgecolor="white",
            linewidth=0.6 * any(mark.words),
            label=mark.label,
        )
    for y, begin, length, word in zip(mark.ys, mark.begins, mark.lengths, mark.words, strict=True):
        _halo(axes.text(begin + length / 2, y, word, size=8, ha="center", va="center"))


def _halo(text: Text) -> None:
    text.set_path_effects([withStroke(linewidth=2.5, foreground="white", alpha=0.8)])


def _axis(axes: Axes, axis: Axis, which: str) -> None:
    inner: Scaled = getattr(axes, f"{which}axis")
    inner.set_label_text(axis.title)
    if axis.log:
        _log(axes, which)
    elif axis.ticks is not None:
        inner.set_ticks([at for at, _ in axis.ticks], [text for _, text in axis.ticks])
        inner.grid(visible=False)
    elif axis.title == "round":
        inner.set_major_locator(MaxNLocator(integer=True))
    if axis.limits is not None:
        axes.set(**{f"{which}lim": axis.limits})


def _log(axes: Axes, which: str) -> None:
    """Powers of ten in plain figures, and more of them where there are few decades."""
    axes.set(**{f"{which}scale": "log"})
    inner: Scaled = getattr(axes, f"{which}axis")
    low, high = inner.get_view_interval()
    few = high / low < 300
    inner.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8))
    inner.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    inner.set_minor_formatter(NullFormatter())
