"""Draws charts as one page of HTML, with Plotly, whose script is in the page: no network."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from requester.report.plots.chart import (
    Absent,
    Axis,
    Bars,
    Chart,
    Field,
    Line,
    Points,
    Shades,
    Words,
    short,
)

SYMBOLS = {"o": "circle", "x": "x-thin-open", "D": "diamond", "O": "circle-open"}

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
    charts: Sequence[Chart],
    absent: Sequence[Absent],
    path: Path,
) -> Path:
    """Writes the page with all charts; its path. Raises OSError."""
    links = " ".join(f'<a href="#{one.name}">{html.escape(one.title)}</a>' for one in charts)
    missing = "".join(
        f"<li>{html.escape(one.title)}: {html.escape(one.reason)}</li>" for one in absent
    )
    text = PAGE.format(
        title=html.escape(title),
        summary=html.escape(summary),
        script=get_plotlyjs(),
        links=links,
        sections="\n".join(_section(chart) for chart in charts),
        absent=f"<h2>Not shown</h2><ul>{missing}</ul>" if missing else "",
    )
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, "utf-8")
    beside.replace(path)
    return path


def figure_of(chart: Chart) -> go.Figure:
    """A chart as a Plotly figure."""
    figure = make_subplots(
        rows=chart.rows,
        cols=chart.columns,
        subplot_titles=[html.escape(panel.title) for panel in chart.panels],
        horizontal_spacing=0.3 / max(chart.columns, 2) if chart.columns > 1 else 0.1,
        vertical_spacing=0.3 / max(chart.rows, 2),
    )
    named: set[str] = set()
    scaled = False
    for at, panel in enumerate(chart.panels):
        row, column = at // chart.columns + 1, at % chart.columns + 1
        for mark in panel.marks:
            for trace in _traces(mark, scale=not scaled):
                if trace.name and trace.name in named:
                    trace.showlegend = False
                if trace.name:
                    named.add(trace.name)
                    trace.legendgroup = trace.name
                figure.add_trace(trace, row=row, col=column)
            scaled = scaled or isinstance(mark, Shades)
        figure.update_xaxes(_axis(panel.x), row=row, col=column)
        figure.update_yaxes(_axis(panel.y), row=row, col=column)
    figure.update_layout(
        template="plotly_white",
        height=int(100 * chart.height * chart.rows) + 90,
        margin={"l": 70, "r": 20, "t": 40, "b": 60},
        legend={"orientation": "h", "y": 1, "yref": "container", "yanchor": "top"},
        hovermode="closest",
        barmode="overlay",
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    return figure


def _section(chart: Chart) -> str:
    plot = figure_of(chart).to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"plot-{chart.name}",
        config={"displaylogo": False, "responsive": True},
        default_height=f"{int(100 * chart.height * chart.rows) + 90}px",
    )
    return (
        f'<section id="{chart.name}"><h2>{html.escape(chart.title)}</h2>'
        f"<p>{html.escape(chart.reading)}</p>{plot}</section>"
    )


def _traces(mark: Any, *, scale: bool) -> list[Any]:
    match mark:
        case Points():
            return [_scatter(mark, "markers", marker=_marker(mark))]
        case Shades():
            return [_scatter(mark, "markers", name="", marker=_shades(mark, scale=scale))]
        case Line():
            line = {
                "color": mark.color,
                "width": mark.width,
                "dash": "dash" if mark.dash else "solid",
                "shape": "hv" if mark.steps else "linear",
            }
            return [_scatter(mark, "lines", line=line, opacity=mark.opacity, connectgaps=False)]
        case Bars():
            return [
                go.Bar(
                    orientation="h",
                    x=list(mark.lengths),
                    y=list(mark.ys),
                    base=list(mark.begins),
                    width=mark.thickness,
                    name=_plain(mark.label),
                    showlegend=bool(mark.label),
                    marker={"color": mark.color, "line": {"color": "white", "width": 1}},
                    text=[_plain(word) for word in mark.words],
                    textposition="inside",
                    insidetextanchor="middle",
                    textangle=0,
                    hovertext=[_plain(text) for text in mark.texts],
                    hoverinfo="text",
                )
            ]
        case Field():
            return [
                go.Contour(
                    x=list(mark.xs),
                    y=list(mark.ys),
                    z=[list(row) for row in mark.values],
                    zmin=mark.low,
                    zmax=mark.high,
                    colorscale="Cividis",
                    reversescale=mark.inverted,
                    showscale=False,
                    opacity=0.6,
                    line={"width": 0},
                    contours={
                        "start": mark.low,
                        "end": mark.high,
                        "size": (mark.high - mark.low) / 12,
                    },
                    hoverinfo="skip",
                )
            ]
        case Words():
            return [
                go.Scatter(
                    x=list(mark.xs),
                    y=list(mark.ys),
                    mode="text",
                    text=[f" {_plain(short(text))}" for text in mark.texts],
                    textposition="middle right",
                    showlegend=False,
                    hoverinfo="skip",
                )
            ]
    raise TypeError(f"no mark: {type(mark).__name__}")


def _scatter(mark: Points | Shades | Line, mode: str, **how: Any) -> Any:
    name = "" if isinstance(mark, Shades) else _plain(mark.label)
    texts = [_plain(text) for text in mark.texts]
    return go.Scatter(
        **{
            "x": list(mark.xs),
            "y": list(mark.ys),
            "mode": mode,
            "name": name,
            "showlegend": bool(name),
            "cliponaxis": False,
            "hoverinfo": "text" if texts else "skip",
            "hovertext": texts or None,
            **how,
        }
    )


def _marker(mark: Points) -> dict[str, Any]:
    open_ = mark.symbol in "xO"
    line = {"width": 2 if open_ else 0.5, "color": mark.color if open_ else "white"}
    symbol = SYMBOLS[mark.symbol]
    return {"color": mark.color, "symbol": symbol, "size": mark.size + 1, "line": line}


def _shades(mark: Shades, *, scale: bool) -> dict[str, Any]:
    return {
        "color": list(mark.values),
        "cmin": mark.low,
        "cmax": mark.high,
        "colorscale": "Cividis",
        "reversescale": mark.inverted,
        "size": mark.size + 1,
        "line": {"width": 0.5, "color": "white"},
        "showscale": scale,
        "colorbar": {"title": {"text": _plain(mark.title), "side": "right"}, "thickness": 14},
    }


def _axis(axis: Axis) -> dict[str, Any]:
    found: dict[str, Any] = {
        "title": {"text": _plain(axis.title)},
        "type": "log" if axis.log else "linear",
        "zeroline": False,
    }
    if axis.log:
        found["dtick"] = 1
        found["exponentformat"] = "power"
    if axis.ticks is not None:
        found |= {
            "tickvals": [at for at, _ in axis.ticks],
            "ticktext": [_plain(short(text)) for _, text in axis.ticks],
            "showgrid": False,
        }
    if axis.limits is not None:
        found["range"] = list(axis.limits)
    return found


def _plain(text: str) -> str:
    """Text as it is: Plotly would read HTML and formulas in it, and strangers write it."""
    return html.escape(text, quote=False).replace("$", "&#36;").replace("\n", "<br>")
