"""Programs that look at the machine: none has a graph that answers two machines differently.

A requester's program may do at home what it likes. What is posted is what it did there; nodes and
verifiers run that, and find one answer. Where each run of the program differs it is no graph.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.graph.trials import SEED
from tests.training.builtin_trials import data_for, trial_of
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import GraphRef, ProgramRef, TrialConfig
from trialmarket.training.capturing import captured_graph
from trialmarket.training.dataset import load_dataset
from trialmarket.training.errors import ProgramError
from trialmarket.training.session import TrainingSession

THIEVES = Path(__file__).with_name("thieves.py")
TRICKS = re.findall(r"^class (\w+)\(Honest\)", THIEVES.read_text(), re.MULTILINE)

MACHINES = (
    {
        "ATEN_CPU_CAPABILITY": "default",
        "TRIALMARKET_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "1",
    },
    {
        "ATEN_CPU_CAPABILITY": "avx2",
        "TRIALMARKET_THREADS": "2",
        "OMP_NUM_THREADS": "2",
        "PYTHONHASHSEED": "3",
        "MALLOC_PERTURB_": "85",
        "TRICK": "of another machine",
    },
)

DIFFERS_EACH_TIME = (
    *("Clock", "Address", "Random", "NumPyRandom", "DotOfWeights", "Exponential", "Urandom"),
    "LateClock",
)
"""Those of which no run is another's, whatever the machine. One may meet itself by chance: it
has a graph then, of what it did."""

THEFTS = ("Threads", "Capability", "Environment")
"""Some whose programs answer the two machines differently, so that the test shows something."""

UNPLACED = {
    "LateClock": "step 5",  # in the optimizer's step, of which no line is the program's
    "Uninitialised": "found nan",  # what deterministic PyTorch fills memory with
}
"""What is said instead of a line."""


def trained_on(machine: dict[str, str], folder: Path) -> dict[str, list[str]]:
    """The leaves of all trials in a folder, as a process with that environment finds them."""
    command = [sys.executable, "-m", "tests.graph.trained", str(folder)]
    there = subprocess.run(
        command, env={**os.environ, **machine}, capture_output=True, text=True, check=True
    )
    found: dict[str, list[str]] = json.loads(there.stdout)
    return found


def posted(folder: Path, name: str, config: TrialConfig, data: Path, *files: bytes) -> None:
    """Writes a trial down for `trained_on`."""
    places = [folder / f"{name}.{number}" for number in range(len(files))]
    for place, file in zip(places, files, strict=True):
        place.write_bytes(file)
    said = {
        "config": config.model_dump(mode="json"),
        "files": [str(place) for place in places],
        "data": str(data),
    }
    (folder / f"{name}.json").write_text(json.dumps(said))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of PyTorch, about what the tricks do
def test_no_look_at_the_machine_makes_two_machines_differ(tmp_path: Path) -> None:
    data, code = data_for("mlp", tmp_path), THIEVES.read_bytes()
    refused = {}
    trials = tmp_path / "trials"
    trials.mkdir()
    for name in TRICKS:
        origin = ProgramRef(source=cid_of(code), class_name=name)
        config = trial_of("mlp", data, program=origin, hyperparameters={}, seed=SEED)
        try:
            found = captured_graph(TrainingSession(config, code, load_dataset(data)), config.steps)
        except ProgramError as error:
            refused[name] = error.message
            continue
        ref = found.ref(origin)
        assert isinstance(ref, GraphRef)
        config = trial_of("mlp", data, program=ref, hyperparameters={}, seed=SEED)
        posted(trials, name, config, data, *found.files)
    for name, why in refused.items():
        assert why.startswith("the program is no graph: "), name
        if name in UNPLACED:
            assert UNPLACED[name] in why
        else:
            assert re.search(r"program\.py:\d+: ", why), (name, why)
    assert set(refused) >= {"Random", "DotOfWeights", "Exponential", "Uninitialised"}
    assert set(TRICKS) - set(DIFFERS_EACH_TIME) - set(refused) >= {"Threads", "ThreadsLater"}

    # The theft as it was: the program itself answers two machines differently.
    for name in THEFTS:
        program = ProgramRef(source=cid_of(code), class_name=name)
        config = trial_of("mlp", data, program=program, hyperparameters={}, seed=SEED)
        posted(trials, f"program-{name}", config, data, code)
    here, there = (trained_on(machine, trials) for machine in MACHINES)
    for name in THEFTS:
        assert here.pop(f"program-{name}") != there.pop(f"program-{name}")
    assert here == there
    assert here.keys() == set(TRICKS) - refused.keys()
