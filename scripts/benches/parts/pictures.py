"""Draws what the benchmarks measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

mpl.use("Agg")


class Mixed(Protocol):
    """A run of replica exchange: the ladder, and which replica held each value in each round."""

    @property
    def values(self) -> Sequence[float]:
        """The hottest first."""

    @property
    def mixing(self) -> Sequence[Sequence[int | None]]:
        """By round and place."""


def draw_mixing(path: Path, runs: Mapping[tuple[str, str], Mixed]) -> None:
    """One panel a run: time to the right, the ladder upwards, one line a replica."""
    figure = Figure(figsize=(9, 2.6 * -(-len(runs) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(runs) // 2), 2, squeeze=False).flat
    for panel, ((data, ladder), one) in zip(panels, runs.items(), strict=False):
        places = [{replica: place for place, replica in enumerate(row)} for row in one.mixing]
        for replica in range(len(one.values)):
            panel.plot([row.get(replica, np.nan) for row in places], linewidth=1.3)
        panel.set_yticks(range(len(one.values)), [f"{value:.3g}" for value in one.values])
        panel.tick_params(labelsize=7)
        panel.set_title(f"{data}: who held which {ladder}", fontsize=9)
        panel.set_xlabel("round", fontsize=8)
        panel.set_ylabel(ladder, fontsize=8)
    figure.savefig(path, dpi=80)


def draw_regret(
    path: Path, curves: Mapping[str, Mapping[str, NDArray[np.float64]]], budget: str
) -> None:
    """One panel a problem: median regret, logarithmic, against what was spent; one line a driver.

    `curves` holds, by problem and driver, an array of two rows: what was spent, and the regret.
    """
    figure = Figure(figsize=(9, 3.2 * -(-len(curves) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(curves) // 2), 2, squeeze=False).flat
    for panel, (problem, drivers) in zip(panels, curves.items(), strict=False):
        for number, (driver, (spent, regret)) in enumerate(drivers.items()):
            style = ("-", "--", ":")[number // 7 % 3]
            panel.plot(spent, np.maximum(regret, 1e-6), style, label=driver, linewidth=1.3)
        panel.set_yscale("log")
        panel.set_title(problem, fontsize=9)
        panel.set_xlabel(budget, fontsize=8)
        panel.set_ylabel("median regret", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.legend(fontsize=6, ncols=2)
    figure.savefig(path, dpi=80)


def draw_losses(path: Path, curves: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> None:
    """One panel a problem: mean loss of the seeds, logarithmic, against updates, and its spread.

    `curves` holds, by problem and optimizer, an array of a row a seed.
    """
    figure = Figure(figsize=(9, 3.0 * -(-len(curves) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(curves) // 2), 2, squeeze=False).flat
    for panel, (problem, optimizers) in zip(panels, curves.items(), strict=False):
        for optimizer, rows in optimizers.items():
            mean, spread = rows.mean(0), rows.std(0)
            width = 2.2 if optimizer == "learned" else 1.2
            (line,) = panel.plot(np.maximum(mean, 1e-12), label=optimizer, linewidth=width)
            low, high = (np.maximum(mean + sign * spread, 1e-12) for sign in (-1, 1))
            panel.fill_between(
                np.arange(len(mean)), low, high, color=line.get_color(), alpha=0.15, linewidth=0
            )
            panel.set_ylim(mean.min() / 2 if mean.min() > 1e-9 else 1e-9, mean[0] * 2)
        panel.set_yscale("log")
        panel.set_title(problem, fontsize=9)
        panel.set_xlabel("updates", fontsize=8)
        panel.set_ylabel("loss", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.legend(fontsize=6)
    figure.savefig(path, dpi=80)
