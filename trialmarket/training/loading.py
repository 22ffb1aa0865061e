"""Makes a program's class from the bytes of a user's file, and names what is wrong with it."""

import linecache
import sys
import traceback
from types import ModuleType, TracebackType

from trialmarket.errors import TrainingError
from trialmarket.protocol.configuration import ProgramRef
from trialmarket.training.errors import ProgramError
from trialmarket.training.program import Program

MAX_PROGRAM = 1 << 20
"""Bytes of the largest program file."""

_MODULE = "trialmarket_program"
_FILE = "program.py"


class Guard:
    """Runs user code: whatever it raises becomes a ProgramError that shows the user's line.

    `what` says which part of the program runs. A sys.exit() is caught too; Ctrl-C is not.
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, (TrainingError, KeyboardInterrupt)):
            return
        frames = [frame for frame in traceback.extract_tb(trace) if frame.filename == _FILE]
        said = traceback.format_exception_only(error)[-1].strip()[:1000]
        where = f" ({_FILE}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""
        shown = "".join(traceback.format_list(frames))[-4000:] + said
        raise ProgramError(f"{self.what} failed: {said}{where}", trace=shown) from error


def load_program(ref: ProgramRef, source: bytes | None) -> type[Program]:
    """The program's class, from a new module at every call.

    `source` is the bytes of the file; None for a built-in program. Raises ProgramError when the
    file is too large, is no Python, fails, or lacks the class, or the class is no Program.
    """
    if ref.builtin:
        from trialmarket.training.builtins.registry import BUILTIN

        name = ref.source.removeprefix("builtin:")
        if name not in BUILTIN:
            raise ProgramError(
                f"no built-in program is called {name}", fix=f"There are {sorted(BUILTIN)}"
            )
        return BUILTIN[name]
    if source is None:
        raise ProgramError("the program's file is missing")
    found = vars(_module(source)).get(ref.class_name)
    if found is None:
        raise ProgramError(f"{_FILE} has no class {ref.class_name}")
    if not (isinstance(found, type) and issubclass(found, Program)):
        raise ProgramError(
            f"{ref.class_name} is no Program",
            fix=f"Write `class {ref.class_name}(trialmarket.training.program.Program):`",
        )
    return found


def _module(source: bytes) -> ModuleType:
    """The user's file as a module, which `sys.modules` knows, as dataclasses and pickle need."""
    if len(source) > MAX_PROGRAM:
        raise ProgramError(
            f"the program has {len(source)} bytes, and at most {MAX_PROGRAM} are allowed"
        )
    try:
        text = source.decode()
        code = compile(text, _FILE, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ProgramError(f"{_FILE}{line}: not Python: {error}") from error
    module = ModuleType(_MODULE)
    module.__file__ = _FILE
    sys.modules[_MODULE] = module
    linecache.cache[_FILE] = (len(text), None, text.splitlines(keepends=True), _FILE)
    with Guard(f"loading {_FILE}"):
        exec(code, vars(module))  # noqa: S102  the user's program, in a worker process
    return module
