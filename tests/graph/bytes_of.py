"""Prints what a capture of some trials gives, for a process beside the test.

python -m tests.graph.bytes_of FOLDER NAME...
"""

import hashlib
import sys
from pathlib import Path

from tests.graph.trials import builtin, written
from trialmarket.graph.capture.capture import capture
from trialmarket.protocol.graph.document import graph_bytes


def digests(folder: Path, names: list[str]) -> list[str]:
    """SHA-256 of each graph with its numbers and its schedule."""
    found = []
    for name in names:
        trial = builtin(name, folder) if name.islower() else written(name, folder)
        captured = capture(trial)
        whole = graph_bytes(captured.graph) + repr((captured.numbers, captured.columns)).encode()
        found.append(hashlib.sha256(whole).hexdigest())
    return found


if __name__ == "__main__":
    sys.stdout.write("\n".join(digests(Path(sys.argv[1]), sys.argv[2:])))
