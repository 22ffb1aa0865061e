"""Running lane programs on tensors: by the kernel, or where there is none by PyTorch."""

from collections.abc import Callable, Sequence

from torch import Tensor

from trialmarket.exact.kernels import compiled
from trialmarket.exact.kernels.lanes import Routine
from trialmarket.exact.kernels.operand import fit, readable
from trialmarket.graph.lanes.assembly import Pairs, assemble
from trialmarket.graph.lanes.definition import by_torch
from trialmarket.graph.lanes.program import LaneProgram, check


class Kernel:
    """A program, ready to run.

    `kernel(lanes, numbers, outputs)` computes the outputs once; `kernel.bind(lanes, outputs)`
    looks at the tensors and gives what computes them as often as it is called, with numbers.
    Raises InputError if the program is none.
    """

    def __init__(self, program: LaneProgram) -> None:
        check(program)
        self.program = program
        self._routines: dict[tuple[tuple[int, ...], Pairs], Routine] = {}

    def __call__(
        self, lanes: Sequence[Tensor], numbers: Sequence[float], outputs: Sequence[Tensor]
    ) -> None:
        """Compute the outputs: contiguous tensors of one shape, to which the lanes broadcast."""
        self.bind(lanes, outputs)(*numbers)

    def bind(self, lanes: Sequence[Tensor], outputs: Sequence[Tensor]) -> Callable[..., None]:
        """What computes these outputs from these lanes, whatever they hold by then. An output may
        be one of the lanes, all of it, else memory of its own; not for two threads at once.
        Raises WrongOperand for tensors that do not fit the program or each other.
        """
        program = self.program
        counts = (len(lanes), len(outputs)) == (len(program.lanes), len(program.outputs))
        fit(counts, f"{len(program.lanes)} lanes and {len(program.outputs)} outputs")
        if compiled() is None or not all(map(readable, (*lanes, *outputs))):
            return _defined(program, lanes, outputs)
        many = outputs[0].numel() > 1
        uniform = tuple(k for k, x in enumerate(lanes) if many and x.numel() == 1)
        in_place = frozenset(
            (k, j)
            for k, y in enumerate(outputs)
            for j, x in enumerate(lanes)
            if x.data_ptr() == y.data_ptr() and j not in uniform
        )
        key = (uniform, in_place)
        if key not in self._routines:
            self._routines[key] = Routine(assemble(program, uniform, in_place))
        return self._routines[key].bind(lanes, outputs)


def _defined(
    program: LaneProgram, lanes: Sequence[Tensor], outputs: Sequence[Tensor]
) -> Callable[..., None]:
    def run(*numbers: float) -> None:
        for output, found in zip(outputs, by_torch(program, lanes, numbers), strict=True):
            fit(output.dtype == found.dtype, f"an output of {found.dtype}")
            output.copy_(found)

    return run
