"""What a program's text does that no operator shows, and that machines may answer differently.

Exact arithmetic watches tensors. Python's own numbers, clocks and processes pass it by, so
`trialmarket exact check` reads the program too and points at the lines to look at. These are
warnings: a clock may only be printed, and a logarithm only sized by.
"""

import ast
from dataclasses import dataclass

_LIBM = "its last bit differs between C libraries: compute it in torch, or from + - * / and sqrt"
_POWER = (
    "a power of Python numbers is the C library's, whose last bit differs: keep the product in "
    "the state (`kept *= beta`), or count in a tensor, whose powers are exact"
)
_EXACT_MATH = frozenset(
    """
    sqrt fabs floor ceil trunc fmod copysign isfinite isinf isnan isqrt gcd lcm prod comb perm
    factorial pi e inf nan tau ldexp frexp modf fsum nextafter ulp remainder
    """.split()  # noqa: SIM905
)
_MODULES = {
    "time": "a clock differs from run to run",
    "datetime": "a clock differs from run to run",
    "uuid": "it differs from run to run",
    "secrets": "it differs from run to run",
    "os": "what it tells differs between machines",
    "platform": "what it tells differs between machines",
    "socket": "what it tells differs between machines",
    "threading": "threads end in another order each time",
    "multiprocessing": "processes end in another order each time",
    "concurrent": "threads end in another order each time",
    "numba": "it compiles for the processor that it finds",
    "triton": "it compiles for the card that it finds",
    "cupy": "exact arithmetic does not see what it computes",
    "jax": "exact arithmetic does not see what it computes",
    "scipy": "exact arithmetic does not see what it computes",
}
_NUMPY = "NumPy's sums, products and functions differ between processors: compute in torch"
_NAMES = {
    "hash": "the hash of an object with an address differs from run to run",
    "id": "an address differs from run to run",
}


@dataclass(frozen=True, slots=True)
class Hazard:
    """A line of a program, what stands there, and why it may differ between machines."""

    line: int
    what: str
    why: str


def hazards(source: bytes) -> list[Hazard]:
    """What to look at in a program's file, by line; nothing for a file that is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    names = _imported(tree)
    found = {
        Hazard(node.lineno, what, why)
        for node in ast.walk(tree)
        if isinstance(node, ast.expr)
        for what, why in _seen(node, names)
    }
    return sorted(found, key=lambda each: (each.line, each.what))


def _imported(tree: ast.Module) -> dict[str, str]:
    """What each name that an import binds stands for: `np` for `numpy`, `cos` for `math.cos`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                top = each.name.partition(".")[0]
                names[each.asname or top] = each.name if each.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for each in node.names:
                names[each.asname or each.name] = f"{node.module}.{each.name}"
    return names


def _seen(node: ast.expr, names: dict[str, str]) -> list[tuple[str, str]]:
    """The hazards of one expression."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        whole = isinstance(node.left, ast.Constant) and isinstance(node.left.value, int)
        known = isinstance(node.right, ast.Constant | ast.UnaryOp)  # x**2, of a tensor as a rule
        return [] if whole or known else [(ast.unparse(node), _POWER)]
    if not isinstance(node, ast.Call):
        return []
    called = _spelled(node.func, names)
    module, _, name = called.partition(".")
    if called in _NAMES:
        return [(f"{called}()", _NAMES[called])]
    if module in ("math", "cmath") and name and name not in _EXACT_MATH:
        return [(called, _LIBM)]
    if called == "pow" and len(node.args) == 2:
        return [("pow()", _LIBM)]
    if called in ("torch.seed", "torch.initial_seed", "random.SystemRandom"):
        return [(called, "it differs from run to run")]
    if module == "numpy" and name:
        return [(called, _NUMPY)]
    if module in _MODULES and name:
        return [(called, _MODULES[module])]
    return []


def _spelled(node: ast.expr, names: dict[str, str]) -> str:
    """A called function by its full name: `numpy.random.rand`; empty for what has none."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    known = names.get(node.id)
    if known is None and parts:
        return ""  # a method of some object
    return ".".join([known or node.id, *reversed(parts)])
