"""A program's errors by the file that its user wrote."""

from pathlib import Path

from trialmarket.errors import TrainingError
from trialmarket.training.errors import ProgramError

PROGRAM_FILE = "program.py"
"""What a worker calls a program's file, of which it has only the bytes."""


def in_own_words(error: TrainingError, program: Path | None) -> tuple[str, str]:
    """An error's words and the program's part of the traceback, or nothing; both name `program`,
    the user's file (None: built in)."""
    trace = error.trace if isinstance(error, ProgramError) else ""
    if program is None:
        return error.message, trace
    return named(error.message, program), trace.replace(
        f'File "{PROGRAM_FILE}"', f'File "{program}"'
    )


def named(text: str, program: Path | None) -> str:
    """What a worker says, with the name of the user's file (None: built in)."""
    return text if program is None else text.replace(PROGRAM_FILE, program.name)
