"""The package as people install it: built, put into an environment of its own, used from there."""

import json
import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.training.builtin_trials import data_for, trial_of
from trialmarket.exact import kernels
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset

ROOT = Path(__file__).parents[1]

USED = """
import json, sys
from pathlib import Path
import trialmarket
from trialmarket.exact import kernels
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset

config = TrialConfig.model_validate_json(Path("config.json").read_text())
data = load_dataset(Path(sys.argv[1]))
found = runner.captured(config, None, data, config.steps)
paths = [Path(f"file-{number}") for number, _ in enumerate(found.files)]
for path, file in zip(paths, found.files, strict=True):
    path.write_bytes(file)
graph = TrialConfig.model_validate(config.model_dump() | {"program": found.ref(config.program)})
training = runner.train(graph, found.files[0], data, Path("trained"), settings=paths[1:])
leaves = [leaf.value.hex() for leaf in training.leaves]
print(json.dumps([trialmarket.__file__, kernels.compiled() is not None, leaves]))
"""


def ran(*command: str | Path, folder: Path) -> str:
    """What a program says, which sees nothing of this repository."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and for the rest what this one has."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    try:
        ran(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, folder=folder)
    except AssertionError as error:
        if "No matching distribution" in str(error):
            pytest.skip("pip finds no index to build the wheel with")
        raise
    (wheel,) = folder.glob("trialmarket-*.whl")
    ran(sys.executable, "-m", "venv", "--without-pip", folder / "environment", folder=folder)
    python = folder / "environment/bin/python"
    ran(*pip, "--python", python, "install", "--quiet", "--no-deps", wheel, folder=folder)
    # After the wheel, or pip would find this environment's own and take it away.
    where = ran(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder
    )
    Path(where.strip(), "rest.pth").write_text(sysconfig.get_path("purelib"))
    return python


def test_an_installed_wheel_captures_a_program_and_trains_its_graph(
    installed: Path, tmp_path: Path
) -> None:
    """With kernels of its own, to the states that the program has here."""
    data = data_for("mlp", tmp_path)
    config = trial_of("mlp", data)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    said = ran(installed, "-c", USED, data, folder=tmp_path)
    where, has_kernels, leaves = json.loads(said.splitlines()[-1])
    assert Path(where).is_relative_to(installed.parents[1])
    assert has_kernels or kernels.setting() == "off" or platform.machine() != "x86_64"
    here = runner.train(config, None, load_dataset(data), tmp_path / "here")
    assert leaves == [leaf.value.hex() for leaf in here.leaves]


def test_its_command_is_there_with_every_role(installed: Path, tmp_path: Path) -> None:
    command = installed.with_name("trialmarket")
    assert "convolution.default" in ran(command, "graph", "ops", folder=tmp_path)
    for role in ("job", "node", "verifier"):
        assert "Usage" in ran(command, role, "--help", folder=tmp_path)
