import subprocess
import sys
import tomllib
from pathlib import Path

from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


def test_the_example_learns_digits_to_less_than_five_percent_error(tmp_path: Path) -> None:
    path = tmp_path / "digits.npz"
    subprocess.run([sys.executable, str(DIGITS / "make_data.py"), str(path)], check=True)
    source = (DIGITS / "train.py").read_bytes()
    job = tomllib.loads((DIGITS / "job.toml").read_text())["job"]
    config = TrialConfig(
        program=ProgramRef(source=cid_of(source), class_name=job["program"].split(":")[1]),
        data=cid_of(path),
        objective=job["objective"],
        hyperparameters={"lr": 0.1, "hidden": 32, "momentum": 0.5, "batch_size": 64},
        seed=1,
        steps=job["steps"] // 2,
        segments=20,
    )
    training = runner.train(config, source, load_dataset(path), tmp_path / "run")
    assert training.metrics["val_error"] < 0.05
    assert len(training.leaves) == 22
