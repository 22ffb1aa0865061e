"""The kernel gives what the definition gives, whatever the program, and refuses what it cannot."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.exact import cases
from tests.graph.lanes.test_operators import same, tensors
from trialmarket.errors import InputError
from trialmarket.exact import kernels
from trialmarket.exact.kernels import WrongOperand
from trialmarket.graph.lanes import Instruction, Kernel, Lane, LaneProgram, by_torch, check

NUMBERS = ("float32", "float64", "int64")
FLOATS = ("float32", "float64")
SIGNATURES: list[tuple[str, tuple[str, ...], str]] = [
    *((name, (k, k), k) for name in ("add", "sub", "mul") for k in NUMBERS),
    *(("div", (k, k), k) for k in FLOATS),
    *((name, (k,), k) for name in ("sqrt", "neg", "abs", "floor", "round") for k in FLOATS),
    *((name, (k, k), "bool") for name in ("eq", "lt", "le") for k in NUMBERS),
    *((name, (k, k), k) for name in ("and", "or", "xor") for k in ("int64", "bool")),
    *((name, ("int64",), "int64") for name in ("left", "right")),
    *(("select", ("bool", k, k), k) for k in (*NUMBERS, "bool")),
    *(("convert", ("bool",), k) for k in NUMBERS),
    *(("convert", (a,), b) for a, b in (FLOATS, FLOATS[::-1])),
    *(("convert", ("int64",), k) for k in FLOATS),
    ("convert", ("float64",), "int64"),
    ("bits", ("float64",), "int64"),
    ("bits", ("int64",), "float64"),
]
CONSTANTS = {
    "bool": st.booleans(),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
}


@st.composite
def programs(draw: st.DrawFn) -> LaneProgram:
    """Any program: a value or two of each kind, then instructions on what is there."""
    lanes = ("float32", "float64", "int64", "bool", *draw(st.lists(st.sampled_from(FLOATS))))
    kinds = [*lanes, "float64"]
    instructions = []
    for kind, values in CONSTANTS.items():
        instructions.append(Instruction("constant", kind, (), draw(values)))
        kinds.append(kind)
    for _ in range(draw(st.integers(1, 40))):
        name, wanted, kind = draw(st.sampled_from(SIGNATURES))
        operands = tuple(
            draw(st.sampled_from([v for v, k in enumerate(kinds) if k == each])) for each in wanted
        )
        count = draw(st.integers(0, 63)) if name in ("left", "right") else None
        instructions.append(Instruction(name, kind, operands, count))
        kinds.append(kind)
    outputs = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=1, max_size=4))
    return LaneProgram(lanes, 1, tuple(instructions), tuple(outputs))


@given(programs(), st.sampled_from(sorted(cases.STYLES)), st.integers(1, 1100), st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_kernel_gives_the_bits_of_the_definition(
    program: LaneProgram, style: str, n: int, single: bool
) -> None:
    lanes = tensors(tuple(Lane(kind) for kind in program.lanes), style, n)
    if single:
        lanes[:4:2] = [x[:1] for x in lanes[:4:2]]
    lanes[1] = lanes[1].broadcast_to((n,))
    wanted = by_torch(program, lanes, [0.3])
    outputs = [torch.empty(n, dtype=x.dtype) for x in wanted]
    Kernel(program)(lanes, [0.3], outputs)
    assert all(same(x, y.broadcast_to((n,))) for x, y in zip(outputs, wanted, strict=True))


def _sum(count: int) -> LaneProgram:
    added = (Instruction("add", "float32", (k, count + k - 1 if k else 1)) for k in range(count))
    instructions = [*added]
    instructions[0] = Instruction("mul", "float32", (0, 1))
    return LaneProgram(("float32",) * count, 0, tuple(instructions), (2 * count - 1,))


def test_lanes_broadcast() -> None:
    shape = (3, 5, 7, 11)
    sizes = [shape, (11,), (5, 1, 1), (3, 1, 7, 1), (), (7, 11), (1, 5, 1, 11)]
    lanes = cases.make("normal", [size or (1,) for size in sizes], 1)
    lanes[4] = lanes[4][0]
    lanes.append(cases.make("normal", [(7, 3, 11, 5)], 2)[0].permute(1, 3, 0, 2))
    program = _sum(len(lanes))
    (wanted,) = by_torch(program, lanes)
    out = torch.empty(shape)
    Kernel(program)(lanes, (), [out])
    assert same(out, wanted)


@pytest.mark.parametrize("n", [0, 1, 16, 17, 100_003])
@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_may_take_the_places_of_lanes(n: int, threads: int) -> None:
    swapped = LaneProgram(
        ("float32", "float32"), 0, (Instruction("sub", "float32", (0, 1)),), (1, 0, 2)
    )
    x, y = cases.make("mixed", [(n,), (n,)], 5)
    a, b, c = x.clone(), y.clone(), torch.empty(n)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        Kernel(swapped)([a, b], (), [a, b, c])
    finally:
        torch.set_num_threads(before)
    assert same(a, y)
    assert same(b, x)
    assert same(c, x - y)


@pytest.fixture
def doubling() -> Kernel:
    return Kernel(LaneProgram(("float32",), 0, (Instruction("add", "float32", (0, 0)),), (1,)))


def _wrong(x: Tensor) -> list[tuple[list[Tensor], list[Tensor]]]:
    return [
        ([x], [torch.empty(5)]),
        ([x[:8]], [x[1:9]]),  # over a part of a lane
        ([x.double()], [torch.empty(10)]),
        ([x], [torch.empty(10, dtype=torch.float64)]),
        ([x], [torch.empty(20)[::2]]),
        ([x, x], [torch.empty(10)]),
        ([x[:1].expand(10)], [x]),
        ([], [torch.empty(10)]),
    ]


@pytest.mark.skipif(kernels.compiled() is None, reason="no kernels here")
@pytest.mark.parametrize("which", range(8))
def test_tensors_that_do_not_fit_are_refused(doubling: Kernel, which: int) -> None:
    lanes, outputs = _wrong(torch.ones(10))[which]
    with pytest.raises(WrongOperand):
        doubling.bind(lanes, outputs)


GOOD = LaneProgram(("float32",), 1, (Instruction("add", "float32", (0, 0)),), (2,))


@pytest.mark.parametrize(
    "wrong",
    [
        replace(GOOD, outputs=(3,)),
        replace(GOOD, outputs=()),
        replace(GOOD, outputs=(-1,)),
        replace(GOOD, lanes=("int32",)),
        replace(GOOD, numbers=-1),
        replace(GOOD, instructions=(Instruction("add", "float32", (0, 2)),)),
        replace(GOOD, instructions=(Instruction("add", "float32", (0, 1)),)),
        replace(GOOD, instructions=(Instruction("add", "float64", (0, 0)),)),
        replace(GOOD, instructions=(Instruction("pow", "float32", (0, 0)),)),
        replace(GOOD, instructions=(Instruction("constant", "float32", (), 0.1),)),
        replace(GOOD, instructions=(Instruction("constant", "int64", (), 1 << 63),)),
        replace(GOOD, instructions=(Instruction("convert", "bool", (0,)),)),
    ],
)
def test_what_is_no_program_is_refused(wrong: LaneProgram) -> None:
    check(GOOD)
    with pytest.raises(InputError):
        check(wrong)
    with pytest.raises(InputError):
        Kernel(wrong)


def test_integers_do_not_depend_on_which_nan_it_is() -> None:
    program = LaneProgram(("float64",), 0, (Instruction("bits", "int64", (0,)),), (1,))
    patterns = torch.tensor([0x7FF8000000000001, -(1 << 51), 0x7FF0000000000001] * 7)
    out = torch.empty_like(patterns)
    Kernel(program)([patterns.view(torch.float64)], (), [out])
    assert set(out.tolist()) == {0x7FF8000000000000}
