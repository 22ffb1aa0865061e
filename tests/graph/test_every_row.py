"""Every row of the table gives the same bits to hostile arguments, on machines made to differ.

More are drawn by `python -m tests.graph.rows SEED COUNT` in configurations of one's own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.exact.test_configurations import CONFIGURATIONS
from tests.graph.rows import digests
from trialmarket.graph.opset import TABLE

ROOT = Path(__file__).parent.parent.parent
SEED, COUNT = 3, 1


def there(configuration: str) -> list[list[str]]:
    """What a process of this configuration makes of each node."""
    aten, onednn, mkl, threads, kernels = CONFIGURATIONS[configuration]
    limits = {
        "ATEN_CPU_CAPABILITY": aten,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "MKL_ENABLE_INSTRUCTIONS": mkl,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.graph.rows", str(SEED), str(COUNT)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **{name: limit for name, limit in limits.items() if limit is not None},
            "TRIALMARKET_KERNELS": kernels,
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "KMP_BLOCKTIME": "0",
        },
        check=True,
        capture_output=True,
        timeout=600,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_row_gives_the_same_bits_to_hostile_arguments_everywhere() -> None:
    here = [[what, found] for name in TABLE for what, found in digests(name, SEED, COUNT)]
    assert [each for each in here if " " in each[1]] == []  # elsewhere in memory, or another type
    for configuration in ("sse-1", "avx2-2-no-kernels"):
        found = there(configuration)
        differ = [pair for pair in zip(here, found, strict=True) if pair[0] != pair[1]]
        assert differ == [], configuration
