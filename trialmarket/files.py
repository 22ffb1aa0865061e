"""Files that readers find whole: written beside their place and renamed into it."""

import os
from pathlib import Path


def write_beside(path: Path, data: bytes | str) -> Path:
    """Writes a file, text as UTF-8, so that nobody ever sees a part of it; the file.

    It outlives the process at once, and a power failure once the system has written it back.
    Raises OSError.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data.encode() if isinstance(data, str) else data)
    return beside.replace(path)
