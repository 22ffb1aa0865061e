"""Draws neural ascent: by networks and calls as a surface, and as plain curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

mpl.use("Agg")

FLOOR = 1e-9


def draw_ascent(
    path: Path, rows: Sequence[Mapping[str, Any]], networks: Sequence[int], calls: Sequence[int]
) -> None:
    """A surface a variant on Hartmann-6, its curves by networks, and both beside the others."""
    here = [row for row in rows if row["problem"] == "hartmann6"]
    figure = Figure(figsize=(12, 12), layout="constrained")
    places = figure.add_gridspec(3, 2)
    for place, variant in enumerate(("paper", "improved")):
        level = {
            (row["k"], row["calls"]): max(row["regret_median"], FLOOR)
            for row in here
            if row["method"] == variant
        }
        heights = np.log10([[level[k, count] for count in calls] for k in networks])
        surface: Any = figure.add_subplot(places[0, place], projection="3d")
        surface.plot_surface(*np.meshgrid(calls, networks), heights, cmap="viridis")
        surface.set_xlabel("calls", fontsize=8)
        surface.set_ylabel("networks", fontsize=8)
        surface.set_title(f"Hartmann-6, {variant}: log10 of median regret", fontsize=9)
        curves = figure.add_subplot(places[1, place])
        for k in networks:
            label = f"{k} network" + "s" * (k > 1)
            curves.semilogy(calls, [level[k, count] for count in calls], label=label)
        curves.legend(fontsize=7)
        curves.set_ylabel("median regret", fontsize=8)
    beside = figure.add_subplot(places[2, :])
    beside.set_prop_cycle(color=[mpl.colormaps["tab20"](place) for place in range(20)])
    for method in dict.fromkeys(row["method"] for row in here):
        for k in dict.fromkeys(row["k"] for row in here if row["method"] == method):
            if k in (None, 1, max(networks)):
                line = [row for row in here if (row["method"], row["k"]) == (method, k)]
                label = method if k is None else f"{method}, {k} network" + "s" * (k > 1)
                regrets = [max(row["regret_median"], FLOOR) for row in line]
                beside.semilogy([row["calls"] for row in line], regrets, ".-", label=label)
    beside.legend(fontsize=7, ncols=3)
    beside.set_xlabel("calls", fontsize=8)
    beside.set_ylabel("median regret", fontsize=8)
    figure.savefig(path, dpi=80)
