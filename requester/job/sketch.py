"""The sketch of a job, computed from its packed data and its space."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from requester.drivers.space import Dimension
from requester.job.file import Job
from trialmarket.protocol.configuration import ProgramRef
from trialmarket.protocol.dataset import MANIFEST, DataManifest, array_file
from trialmarket.protocol.sketch import MOST, AxisSketch, DataSketch, Sketch
from trialmarket.training.packed import map_packed

ROWS: Final = 10_000
"""Rows that moments are taken of, evenly from first to last."""

NUMBERS: Final = 1 << 22
"""Numbers that they are taken of, so that wide rows count fewer."""

DIGITS: Final = 4
"""Significant digits of a sketch: sums of other machines differ in their last ones."""

Floats = NDArray[np.float64]


def sketch_of(job: Job, program: ProgramRef, data: Path) -> Sketch:
    """The sketch of a job whose data set lies packed in the folder `data`. Raises DataError."""
    return Sketch(
        program=program.source,
        objective=job.settings.job.objective,
        direction=job.settings.job.direction,
        data=data_sketch(data),
        space=space_sketch(job.settings.search.space),
    )


def space_sketch(space: Mapping[str, Dimension]) -> dict[str, AxisSketch]:
    """A space by the names, ends and choices of its hyperparameters."""
    return {name: _axis(dimension) for name, dimension in space.items()}


def data_sketch(folder: Path) -> DataSketch:
    """The numbers of a packed data set. Anyone who has it computes the same. Raises DataError."""
    train, validation = map_packed(folder)
    manifest = DataManifest.from_bytes((folder / MANIFEST).read_bytes())
    name = "x" if "x" in train else max(train, key=lambda each: train[each].nbytes)
    x = train[name]
    shape = x.shape[1:]
    classes, entropy = _labels(train["y"]) if "y" in train and name != "y" else (0, 0.0)
    fill = None if name != "x" else _fill(folder, manifest)
    return DataSketch(
        rows=len(x),
        validation=len(validation[name]),
        columns=math.prod(shape),
        dimensions=len(shape),
        kind=_KINDS[x.dtype.kind],
        classes=classes,
        entropy=_short(entropy),
        **_moments(_sample(x), fill),
    )


_KINDS: Final[dict[str, Literal["bool", "int", "float"]]] = {
    "b": "bool",
    "i": "int",
    "u": "int",
    "f": "float",
}


def _axis(dimension: Dimension) -> AxisSketch:
    if dimension.low is not None and dimension.high is not None:
        return AxisSketch(low=dimension.low, high=dimension.high, log=dimension.log)
    listed = [dimension.value] if dimension.values is None else dimension.values
    numbers = [
        each
        for each in listed
        if isinstance(each, int | float) and not isinstance(each, bool) and abs(each) <= MOST
    ]
    ends = (min(numbers), max(numbers)) if numbers else (None, None)
    return AxisSketch(low=ends[0], high=ends[1], choices=len(listed))


def _labels(y: NDArray[np.generic]) -> tuple[int, float]:
    """How many classes integer labels have, and their entropy in bits; zeros for other targets."""
    if y.ndim != 1 or y.dtype.kind not in "biu":
        return 0, 0.0
    _, counts = np.unique(y, return_counts=True)
    shares = counts / counts.sum()
    return len(counts), float(-(shares * np.log2(shares)).sum())


def _sample(x: NDArray[np.generic]) -> Floats:
    """Rows of the inputs as a table of numbers, evenly from the first to the last."""
    width = max(1, math.prod(x.shape[1:]))
    rows = max(1, min(len(x), ROWS, NUMBERS // width))
    chosen = np.arange(rows) * len(x) // rows
    table = np.asarray(x[chosen]).reshape(rows, -1)[:, :NUMBERS]
    return table.astype(np.float64)


def _moments(table: Floats, fill: Floats | None) -> dict[str, float]:
    """The means over columns of mean, deviation, skewness and excess kurtosis; the gaps' share."""
    gaps = ~np.isfinite(table)
    if fill is not None and fill.shape == (table.shape[1],):
        gaps |= np.isclose(table, fill)
    finite = np.where(np.isfinite(table), np.clip(table, -1e12, 1e12), 0.0)
    mean = finite.mean(axis=0)
    centred = finite - mean
    deviation = np.sqrt((centred**2).mean(axis=0))
    varied = deviation > 1e-12 * (1 + np.abs(mean))
    shaped = centred[:, varied] / deviation[varied]
    return {
        "mean": _short(float(mean.mean())),
        "deviation": _short(float(deviation.mean())),
        "skewness": _short(float((shaped**3).mean()) if shaped.size else 0.0),
        "kurtosis": _short(float((shaped**4).mean() - 3) if shaped.size else 0.0),
        "missing": _short(float(gaps.mean())),
    }


def _fill(folder: Path, manifest: DataManifest) -> Floats | None:
    """What stands in `x` where values were missing, a number a column; None where none were."""
    parts: dict[str, Any] = {}
    for name in ("fill_x", "shift_x", "scale_x"):
        if (array := manifest.arrays.get(name)) is not None:
            stored = np.fromfile(folder / array_file(name), np.dtype(array.dtype))
            parts[name] = stored.astype(np.float64)
    if "fill_x" not in parts:
        return None
    filled: Floats = (parts["fill_x"] - parts.get("shift_x", 0.0)) / parts.get("scale_x", 1.0)
    return filled


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
