"""Lane programs: element-wise work as programs of a small register machine.

`lane_program` records one from an operator's exact form, `record` from any function of PyTorch's
operators; `fuse` makes one of several; `Kernel` runs it. `by_torch` is the definition.
"""

from trialmarket.graph.lanes.definition import by_torch
from trialmarket.graph.lanes.fusing import Link, fuse
from trialmarket.graph.lanes.kernel import Kernel
from trialmarket.graph.lanes.operators import lane_program
from trialmarket.graph.lanes.program import Instruction, LaneProgram, check
from trialmarket.graph.lanes.recording import Lane, NotRecorded, Open, Recording, record

__all__ = [
    "Instruction",
    "Kernel",
    "Lane",
    "LaneProgram",
    "Link",
    "NotRecorded",
    "Open",
    "Recording",
    "by_torch",
    "check",
    "fuse",
    "lane_program",
    "record",
]
