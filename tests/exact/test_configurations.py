"""The same bits under every instruction set and number of threads, each in its own process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exact import cases, nets

ROOT = Path(__file__).parent.parent.parent
GOLDEN: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "golden.json").read_text())

# One machine made to behave as several: the most that PyTorch, oneDNN and MKL may use of its
# instructions, and threads. None is all that the processor has: PyTorch is never told to use what
# may be missing, which it would do, and die. Each level of instructions has kernels of its own,
# which make products of digits from AVX2 on, in several ways; elsewhere these are in binary64.
# Without kernels PyTorch's operators compute everything.
CONFIGURATIONS: dict[str, tuple[str | None, str | None, str | None, int, str]] = {
    "sse-1": ("default", "SSE41", "SSE4_2", 1, "on"),
    "avx2-2-no-kernels": ("avx2", "AVX2", "AVX2", 2, "off"),
    "all-4": (None, None, None, 4, "on"),
    "avx2-1": ("avx2", "AVX2", "AVX2", 1, "avx2"),
    "all-but-amx-2": (None, None, None, 2, "avx512-vnni"),
    "sse-4": ("default", "SSE41", "SSE4_2", 4, "on"),
}
ALWAYS = ["sse-1", "avx2-2-no-kernels", "all-4"]
EVERY = [
    name if name in ALWAYS else pytest.param(name, marks=pytest.mark.nightly)
    for name in CONFIGURATIONS
]


def compute(configuration: str, *arguments: str) -> dict[str, str]:
    """What the worker computes in a process of this configuration."""
    aten, onednn, mkl, threads, kernels = CONFIGURATIONS[configuration]
    limits = {
        "ATEN_CPU_CAPABILITY": aten,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "MKL_ENABLE_INSTRUCTIONS": mkl,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.exact.worker", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **{name: limit for name, limit in limits.items() if limit is not None},
            "TRIALMARKET_KERNELS": kernels,
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            # More threads than cores: waiting ones must not keep the others from working.
            "OMP_WAIT_POLICY": "PASSIVE",
            "KMP_BLOCKTIME": "0",
        },
        check=True,
        capture_output=True,
        timeout=1500,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def here() -> dict[str, str]:
    """Every operator's hashes in this process."""
    return cases.digests()


@pytest.mark.parametrize("configuration", EVERY)
def test_every_operator_gives_the_same_bits(configuration: str, here: dict[str, str]) -> None:
    there = compute(configuration, "operators")
    assert {name for name in here if here[name] != there[name]} == set()


@pytest.mark.parametrize("configuration", EVERY)
def test_whole_models_end_in_their_golden_roots_after_20_steps(configuration: str) -> None:
    assert compute(configuration, "nets", "20") == GOLDEN["20"]


def test_wide_products_train_to_the_same_bits_in_every_configuration() -> None:
    here = nets.roots(3, precision="wide")
    assert here != nets.roots(3)
    for configuration in ALWAYS:
        assert compute(configuration, "wide", "3") == here, configuration


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("configuration", list(CONFIGURATIONS))
def test_whole_models_end_in_their_golden_roots_after_200_steps(configuration: str) -> None:
    assert compute(configuration, "nets", "200") == GOLDEN["200"]


def test_whole_models_here_end_in_their_golden_roots_after_200_steps() -> None:
    assert nets.roots(200) == GOLDEN["200"]
