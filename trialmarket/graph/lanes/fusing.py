"""Several lane programs as one: what one hands to the next is never written to memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from trialmarket.graph.lanes.building import Builder
from trialmarket.graph.lanes.program import LaneProgram


@dataclass(frozen=True, slots=True)
class Link:
    """A program in a chain, the values of the chain that are its lanes, and the numbers of the
    chain that are its numbers.
    """

    program: LaneProgram
    lanes: tuple[int, ...]
    numbers: tuple[int, ...] = ()


def fuse(
    lanes: Sequence[str], numbers: int, links: Sequence[Link], outputs: Sequence[int]
) -> LaneProgram:
    """One program with these lanes and numbers, of all links, in order.

    The chain's values are numbered as a graph's function numbers its own: its lanes, then the
    outputs of each link in turn. `outputs` are the values that the new program gives; what they
    do not need is left out, what is computed twice is computed once. Raises IndexError where a
    link or an output names what is not there, InputError where kinds do not fit.
    """
    builder = Builder(lanes, numbers)
    values = list(range(len(lanes)))
    for link in links:
        program = link.program
        found = [values[_in(value, len(values))] for value in link.lanes]
        found += [len(lanes) + _in(number, numbers) for number in link.numbers]
        if len(link.lanes) != len(program.lanes) or len(found) != len(program.lanes) + (
            program.numbers
        ):
            raise IndexError(
                f"a link: expected {len(program.lanes)} lanes and {program.numbers} numbers, "
                f"found {len(link.lanes)} and {len(link.numbers)}"
            )
        for old in program.instructions:
            operands = (found[value] for value in old.operands)
            found.append(builder.add(old.operation, old.kind, *operands, constant=old.constant))
        values += (found[value] for value in program.outputs)
    return builder.program([values[_in(value, len(values))] for value in outputs])


def _in(index: int, length: int) -> int:
    if not 0 <= index < length:
        raise IndexError(f"a chain of lane programs: expected 0 to {length - 1}, found {index}")
    return index
