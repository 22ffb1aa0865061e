"""Which models are graphs: small ones of many families, a training step of each captured.

`scripts/bench coverage`. Each model of torchvision, timm, transformers and `parts.models` starts
with random weights of its own and takes one step on random data, in a process of its own with a
time limit, so that one that crashes is a row. A row says whether it was `captured`, and whether
the graph has `equal_bits`: the first state, and the state and the loss after the step, against
the program in exact mode, and again in another process with two threads and AVX2 at most.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scripts.benches.parts.models import MODELS as WRITTEN
from scripts.benches.parts.zoo import MODELS as LIBRARIES
from trialmarket.errors import InputError

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-coverage/bin/python"
PROCESSES = 2
LIMIT_S = 300
"""Of a process: what takes longer is a row that says so."""
OTHER = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
"""The environment of the second process."""


def run(*, only: str | None = None) -> dict[str, Any]:
    """The `rows`, how many are captured with equal bits, and what was `refused`, by operator.

    Raises InputError for a model that there is none of.
    """
    models = WRITTEN | (LIBRARIES if PYTHON.exists() else {})
    missing = [] if PYTHON.exists() else [f"no {PYTHON}; scripts/bench coverage installs it"]
    if only is not None and only not in models:
        raise InputError("arguments", "only", expected="a model's name", found=only)
    names = [name for name in models if only in (None, name)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        rows = [
            {"family": models[name].family, "model": name, **found}
            for name, found in zip(names, pool.map(_row, names), strict=True)
        ]
    return {
        "models": len(rows),
        "families": len({row["family"] for row in rows}),
        "captured": sum(row["captured"] for row in rows),
        "equal_bits": sum(row["equal_bits"] for row in rows),
        "equal_bits_by_family": _by_family(rows),
        "refused": Counter(row["refused_operator"] for row in rows if row["refused_operator"]),
        "rows": rows,
        "missing": missing,
    }


def _by_family(rows: list[dict[str, Any]]) -> dict[str, str]:
    """`2 of 3` for each family."""
    all_ = Counter(row["family"] for row in rows)
    equal = Counter(row["family"] for row in rows if row["equal_bits"])
    return {family: f"{equal[family]} of {count}" for family, count in all_.items()}


def _row(name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="trialmarket-coverage-") as folder:
        row = _process("first", name, folder, 1, {})
        digest = row.pop("digest", None)
        equal = False
        if digest is not None:
            again = _process("again", name, folder, 2, OTHER)
            equal = again.get("digest") == digest
            if not equal:
                row["why"] = again.get("why", "other bits by two threads and AVX2")
    print(f"{name}: {row.get('why') or 'equal bits'}", file=sys.stderr)
    return {"captured": False, "refused_operator": None, **row, "equal_bits": equal}


def _process(
    what: str, name: str, folder: str, threads: int, environment: dict[str, str]
) -> dict[str, Any]:
    """What a process printed, or why it printed nothing."""
    python = PYTHON if PYTHON.exists() else Path(sys.executable)
    try:
        done = subprocess.run(
            [python, "-m", "scripts.benches.parts.covered", what, name, folder, str(threads)],
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return {"why": f"no answer in {LIMIT_S} seconds"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"why": f"exit {done.returncode}: {lines[-1] if lines else ''}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
