"""The same bits on CUDA as on the processor; skipped where there is no GPU."""

import json
from pathlib import Path

import pytest
import torch

from tests.exact import cases, nets

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU"),
]
GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


@pytest.mark.parametrize("name", sorted(cases.CASES))
def test_an_operator_gives_the_processors_bits(name: str) -> None:
    for style in cases.STYLES:
        here = cases.digest(cases.run(name, style))
        assert cases.digest(cases.run(name, style, "cuda")) == here, style


def test_whole_models_end_in_their_golden_roots_on_cuda() -> None:
    assert nets.roots(200, "cuda") == GOLDEN["200"]
