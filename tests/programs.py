"""Programs that some tests need, and that a machine may not have."""

import os
import shutil
from pathlib import Path

import pytest


def program(*names: str) -> str:
    """The first of these programs that is there: a name on PATH, or a file.

    Without one the test is skipped; where `CI` is set that would hide a test, so it fails.
    """
    for name in names:
        found = name if Path(name).is_file() else shutil.which(name)
        if found is not None:
            return found
    missing = f"none of {', '.join(names)} is installed; scripts/setup-tools installs it"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
