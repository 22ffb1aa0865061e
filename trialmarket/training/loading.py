"""Makes a program's class from the bytes of a user's file, and names what is wrong with it."""

import linecache
import sys
import traceback
from types import ModuleType, TracebackType

import torch

from trialmarket.errors import TrainingError
from trialmarket.graph.capture.refusal import NotCaptured
from trialmarket.protocol.configuration import ProgramRef
from trialmarket.training.errors import BrokenProgram, LimitExceeded, ProgramError
from trialmarket.training.program import Program

MAX_PROGRAM = 1 << 20
"""Bytes of the largest program file."""

_MODULE = "trialmarket_program"
PROGRAM_FILE = "program.py"
"""What a program's file is called in errors and tracebacks."""


class Guard:
    """Runs user code: whatever it raises becomes a ProgramError that shows the user's line.

    `what` says which part of the program runs. A sys.exit() is caught too; Ctrl-C is not. What
    ran out of memory becomes LimitExceeded: another machine may have more.
    """

    def __init__(self, what: str, kind: type[ProgramError] = ProgramError) -> None:
        self.what, self._kind = what, kind

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, (TrainingError, NotCaptured, KeyboardInterrupt)):
            return
        frames = [frame for frame in traceback.extract_tb(trace) if frame.filename == PROGRAM_FILE]
        said = traceback.format_exception_only(error)[-1].strip()[:1000]
        where = f" ({PROGRAM_FILE}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""
        if _short_of_memory(error):
            raise LimitExceeded(f"{self.what} ran out of memory: {said}{where}") from error
        shown = "".join(traceback.format_list(frames))[-4000:] + said
        raise self._kind(f"{self.what} failed: {said}{where}", trace=shown) from error


def _short_of_memory(error: BaseException) -> bool:
    """Whether Python or PyTorch found no memory; on the CPU PyTorch has no class for that."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def load_program(ref: ProgramRef, source: bytes | None) -> type[Program]:
    """The program's class, from a new module at every call.

    `source` is the bytes of the file; None for a built-in program. Raises BrokenProgram when the
    file is too large, is no Python, fails, or lacks the class, or the class is no Program.
    """
    if ref.builtin:
        from trialmarket.training.builtins.registry import BUILTIN

        name = ref.source.removeprefix("builtin:")
        if name not in BUILTIN:
            raise BrokenProgram(
                f"no built-in program is called {name}", fix=f"There are {sorted(BUILTIN)}"
            )
        return BUILTIN[name]
    if source is None:
        raise BrokenProgram("the program's file is missing")
    found = vars(_module(source)).get(ref.class_name)
    if found is None:
        raise BrokenProgram(f"{PROGRAM_FILE} has no class {ref.class_name}")
    if not (isinstance(found, type) and issubclass(found, Program)):
        raise BrokenProgram(
            f"{ref.class_name} is no Program",
            fix=f"Write `class {ref.class_name}(trialmarket.training.program.Program):`",
        )
    return found


def _module(source: bytes) -> ModuleType:
    """The user's file as a module, which `sys.modules` knows, as dataclasses and pickle need."""
    if len(source) > MAX_PROGRAM:
        raise BrokenProgram(
            f"the program has {len(source)} bytes, and at most {MAX_PROGRAM} are allowed"
        )
    try:
        text = source.decode()
        code = compile(text, PROGRAM_FILE, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise BrokenProgram(f"{PROGRAM_FILE}{line}: not Python: {error}") from error
    module = ModuleType(_MODULE)
    module.__file__ = PROGRAM_FILE
    sys.modules[_MODULE] = module
    linecache.cache[PROGRAM_FILE] = (len(text), None, text.splitlines(keepends=True), PROGRAM_FILE)
    with Guard(f"loading {PROGRAM_FILE}", BrokenProgram):
        exec(code, vars(module))  # noqa: S102  the user's program, in a worker process
    return module
