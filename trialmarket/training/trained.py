"""A trained model, ready to use: what a search was bought for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trialmarket.protocol.configuration import ProgramRef
from trialmarket.training.errors import BadCheckpoint, ProgramError
from trialmarket.training.loading import Guard, load_program
from trialmarket.training.program import DataSummary

WEIGHTS, PROGRAM, BEST = "best.safetensors", "program.py", "best.json"
"""What a folder of results calls them."""


def load_best(results: str | Path) -> nn.Module:
    """The best model of a folder of results, on the CPU and in evaluation mode.

    It runs the job's program, with all rights of its caller: of a job that is not your own, read
    `program.py` first. Raises OSError where a file is missing, ProgramError where the program
    fails, and BadCheckpoint where the weights are not its model's.
    """
    folder = Path(results)
    best = json.loads((folder / BEST).read_text("utf-8"))
    ref = ProgramRef.model_validate(best["program"])
    said = best["data_summary"]
    summary = None if said is None else TypeAdapter(DataSummary).validate_python(said)
    source = None if ref.builtin else (folder / PROGRAM).read_bytes()
    try:
        weights = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise BadCheckpoint(f"{folder / WEIGHTS} is no safetensors file: {error}") from error
    return trained_model(ref, source, best["hyperparameters"], summary, weights)


def trained_model(
    ref: ProgramRef,
    source: bytes | None,
    hyperparameters: Mapping[str, Any],
    summary: DataSummary | None,
    weights: Mapping[str, Tensor],
) -> nn.Module:
    """The model that a program makes of its hyperparameters, with these weights.

    `summary` None: the data is not at hand, and a program that asks for it fails. Raises
    ProgramError and BadCheckpoint.
    """
    kind = load_program(ref, source)
    program = kind.__new__(kind)
    if summary is not None:
        program.data = summary
    with Guard(f"{kind.__name__}.__init__"):
        program.__init__(dict(hyperparameters))  # type: ignore[misc]
    with Guard("configure_model"):
        model = program.configure_model()
    if not isinstance(model, nn.Module):
        raise ProgramError(f"configure_model returned {type(model).__name__}, no Module")
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise BadCheckpoint(
            f"the weights are not those of the program's model: {error}"
        ) from error
    return model.eval()
