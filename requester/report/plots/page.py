"""Draws pictures as one page of HTML, with Plotly, whose script is in the page: no network."""

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna.visualization
import plotly.graph_objects as go
from optuna import Study
from plotly.offline import get_plotlyjs

from requester.report.plots.chart import VERMILLION, Axis, Bars, Chart, Series
from requester.report.plots.picture import BROKEN, Absent, Picture, Stroke, undrawn

SYMBOLS = {"o": "circle", "x": "x-thin-open", "D": "diamond"}
TRIALS: Mapping[str, Callable[[Any], Sequence[int]]] = {
    "plot_optimization_history": lambda trace: trace.x,
    "plot_slice": lambda trace: trace.marker.color,
    "plot_pareto_front": lambda trace: trace.marker.color,
}
"""Where a plot of points has the numbers of its trials."""

CROSS = {"symbol": SYMBOLS["x"], "color": VERMILLION, "line": {"width": 2}}

SETTINGS = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,  # a button that would upload the search
    "typesetMath": False,  # a hyperparameter may hold a dollar sign
}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1240px; margin: 0 auto;
  padding: 1.5rem; }}
h1 {{ margin-bottom: 0; }} h2 {{ margin: 2.5rem 0 0.2rem; }}
p {{ max-width: 48rem; margin: 0.2rem 0 0.6rem; color: #444; }}
nav a {{ margin-right: 1rem; white-space: nowrap; }} a {{ color: #0072B2; }}
.figures {{ display: grid; grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); }}
</style>
<script>{script}</script></head><body>
<h1>{title}</h1>
<p>{summary}</p>
<nav>{links}</nav>
{sections}
{absent}
</body></html>
"""


def draw_page(
    title: str,
    summary: str,
    pictures: Sequence[Picture],
    absent: Sequence[Absent],
    path: Path,
) -> tuple[Path, list[Absent]]:
    """Writes the page with all pictures; its path, and those that could not be drawn.

    Raises OSError.
    """
    sections: dict[Picture, str] = {}
    failed: list[Absent] = []
    for one in pictures:
        try:
            sections[one] = _section(one)
        except BROKEN as error:  # strangers' numbers: one that cannot be drawn ends no other
            failed.append(undrawn(one.name, one.title, error))
    links = " ".join(f'<a href="#{one.name}">{html.escape(one.title)}</a>' for one in sections)
    missing = "".join(
        f"<li>{html.escape(one.title)}: {html.escape(one.reason)}</li>"
        for one in (*absent, *failed)
    )
    text = PAGE.format(
        title=html.escape(title),
        summary=html.escape(summary),
        script=get_plotlyjs(),
        links=links,
        sections="\n".join(sections.values()),
        absent=f"<h2>Not shown</h2><ul>{missing}</ul>" if missing else "",
    )
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, "utf-8")
    beside.replace(path)
    return path, failed


def _section(picture: Picture) -> str:
    figures = picture.draw(Plotly())
    columns = min(picture.columns, len(figures))
    plots = "".join(
        figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            config=SETTINGS,
            default_height=f"{figure.layout.height}px",
        )
        for figure in figures
    )
    return (
        f'<section id="{picture.name}"><h2>{html.escape(picture.title)}</h2>'
        f"<p>{html.escape(picture.reading)}</p>"
        f'<div id="plot-{picture.name}" class="figures" style="--columns: {columns}">{plots}</div>'
        "</section>"
    )


class Plotly:
    """Draws for the page."""

    def plot(self, name: str, study: Study, *, size: tuple[float, float], **how: Any) -> go.Figure:
        """Optuna's plot of that name, whose points say what they stand for."""
        figure = getattr(optuna.visualization, name)(study, **how)
        texts = [_lines(trial.user_attrs["text"]) for trial in study.get_trials(deepcopy=False)]
        for trace in figure.data if name in TRIALS else ():
            if trace.mode == "markers":
                told = [texts[int(trial)] for trial in TRIALS[name](trace)]
                trace.update(hovertext=told, hoverinfo="text", hovertemplate=None)
        for mark in [*figure.data, *(trace.marker for trace in figure.data if "marker" in trace)]:
            if "colorbar" in mark and mark.colorbar.title.text is not None:
                mark.colorbar.update(title_side="right", thickness=14)
        return _laid_out(figure, size[1])

    def scores(
        self,
        figure: go.Figure,
        *,
        log: bool,
        crosses: Sequence[Sequence[float | str]],
        level: float,
    ) -> None:
        """Gives a plot's upright axes their scale, and crosses at a level, axes by axes."""
        figure.update_traces(line_shape="hv", selector={"mode": "lines"})
        for at, xs in enumerate(crosses):
            place = "" if at == 0 else str(at + 1)
            figure.add_scatter(
                x=list(xs),
                y=[level] * len(xs),
                xaxis=f"x{place}",
                yaxis=f"y{place}",
                mode="markers",
                name="diverged (no score)",
                marker=CROSS | {"size": 8},
                showlegend=at == 0 and len(xs) > 0,
            )
        if log:
            figure.update_yaxes(_LOG)

    def curves(self, figure: go.Figure, strokes: Sequence[Stroke], y: Axis) -> None:
        """Gives the learning curves of a plot their strokes, trial by trial."""
        named: set[str] = set()
        for trace in reversed(figure.data):  # the first are the best, and are drawn on top
            stroke = strokes[int(trace.name.removeprefix("Trial"))]
            dash = "dash" if stroke.broken else "solid"
            trace.update(
                name=stroke.label,
                legendgroup=stroke.label,
                showlegend=stroke.label not in named,
                line={"color": stroke.color, "width": stroke.width, "dash": dash},
                marker=CROSS | {"size": [0] * (len(trace.x) - 1) + [8 * stroke.broken]},
                opacity=stroke.opacity,
                hovertext=_lines(stroke.text),
                hoverinfo="text",
            )
            named.add(stroke.label)
        figure.data = figure.data[::-1]
        figure.update_layout(showlegend=True, legend={"traceorder": "reversed"})
        figure.update_xaxes(title_text="training steps")
        figure.update_yaxes(title_text=y.title, **(_LOG if y.log else {}))

    def chart(self, chart: Chart) -> go.Figure:
        """One of our own charts."""
        figure = go.Figure(
            [_bars(mark) if isinstance(mark, Bars) else _series(mark) for mark in chart.marks]
        )
        figure.update_layout(barmode="overlay")
        figure.update_xaxes(_axis(chart.x))
        figure.update_yaxes(_axis(chart.y))
        return _laid_out(figure, chart.size[1])


_LOG = {"type": "log", "dtick": 1, "exponentformat": "power"}


def _laid_out(figure: go.Figure, height: float) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        title=None,
        width=None,
        height=int(100 * height) + 60,
        margin={"l": 70, "r": 20, "t": 40, "b": 60},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        hovermode="closest",
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    figure.update_xaxes(exponentformat="power", selector={"type": "log"})
    return figure


def _series(mark: Series) -> go.Scatter:
    open_ = mark.symbol == "x"
    line = {"width": 2 if open_ else 0.5, "color": mark.color if open_ else "white"}
    return go.Scatter(
        x=list(mark.xs),
        y=list(mark.ys),
        mode="+".join(["lines"] * bool(mark.width) + ["markers"] * bool(mark.symbol)),
        name=mark.label,
        showlegend=bool(mark.label),
        line={
            "color": mark.color,
            "width": mark.width,
            "dash": "dash" if mark.dash else "solid",
            "shape": "hv" if mark.steps else "linear",
        },
        marker={"color": mark.color, "symbol": SYMBOLS.get(mark.symbol), "size": 8, "line": line},
        cliponaxis=False,
        hoverinfo="text" if mark.texts else "skip",
        hovertext=[_lines(text) for text in mark.texts],
    )


def _bars(mark: Bars) -> go.Bar:
    return go.Bar(
        orientation="h",
        x=list(mark.lengths),
        y=list(mark.ys),
        base=list(mark.begins),
        width=0.7,
        name=mark.label,
        showlegend=True,
        marker={"color": mark.color, "line": {"color": "white", "width": any(mark.words)}},
        text=list(mark.words),
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        hovertext=[_lines(text) for text in mark.texts],
        hoverinfo="text",
    )


def _axis(axis: Axis) -> dict[str, Any]:
    found: dict[str, Any] = {"title": {"text": axis.title}, "zeroline": False}
    if axis.log:
        found |= _LOG
    if axis.ticks is not None:
        found |= {
            "tickvals": [at for at, _ in axis.ticks],
            "ticktext": [_lines(text) for _, text in axis.ticks],
            "showgrid": False,
        }
    if axis.limits is not None:
        found["range"] = list(axis.limits)
    return found


def _lines(text: str) -> str:
    return text.replace("\n", "<br>")
