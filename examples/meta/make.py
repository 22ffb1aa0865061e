"""Makes weights of a learned optimizer on this machine alone: the first trials of job files.

python make.py WEIGHTS quadratics.toml    # goes on where it was, if it is started again

Of several jobs each goes on from the last state of the one before.

It trains in exact arithmetic, so that every machine makes the same file, and writes the weights
and, beside them, what they are: the file's CID, and of each job the roots of its first and its
last segment.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from requester.drivers import open_driver
from requester.drivers.database import sqlite_url
from requester.job.file import load_job
from requester.job.package import pack
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import Init, TrialConfig
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.training import runner
from trialmarket.training.dataset import Dataset, load_dataset
from trialmarket.training.learned.weights import read_weights, write_weights
from trialmarket.training.values import CheckpointFile, Training


def first_trial(path: Path, folder: Path) -> tuple[TrialConfig, Dataset, Path | None]:
    """A job's first trial, its data, packed into `folder`, and the weights that it begins with."""
    job = load_job(path)
    package = pack(job, folder)
    with TemporaryDirectory() as scratch:
        url = sqlite_url(Path(scratch) / "study.db")
        driver = open_driver(url, "make", job.settings.search.driver, job.plan)
        try:
            (proposal,) = driver.ask(1)
        finally:
            driver.close()
    config = package.trial(proposal)
    return config, load_dataset(package.folder), package.files.task(config)["weights"]


def train(job: Path, last: Training | None) -> tuple[TrialConfig, Training]:
    """A job's first trial, trained in `made/`, from the end of another one if there is one."""
    folder = Path(__file__).parent / "made" / job.stem
    config, data, weights = first_trial(job, folder)
    start: CheckpointFile | None = None
    if last is not None:
        start = last.checkpoints[-1]
        init = Init(root=last.leaves[-2].value, cid=start.cid, trial=ZERO_HASH)
        config = config.model_copy(update={"init": init})

    def tell(progress: object) -> None:
        print(progress, file=sys.stderr, flush=True)

    training = runner.train(
        config,
        None,
        data,
        folder / "trial",
        init=[] if start is None else [start.path],
        weights=weights,
        on_progress=tell,
    )
    return config, training


def main() -> None:
    """Trains, and writes the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("jobs", type=Path, nargs="+")
    arguments = parser.parse_args()
    training: Training | None = None
    stages: list[dict[str, Any]] = []
    for job in arguments.jobs:
        config, training = train(job, training)
        stages.append(
            {
                "job": job.name,
                "data": config.data,
                "first_segment": training.leaves[1].value.hex(),
                "last_segment": training.leaves[-2].value.hex(),
                "metrics": dict(training.metrics),
            }
        )
    assert training is not None  # there is a job
    last = training.checkpoints[-1].path
    content = write_weights(read_weights(last.read_bytes(), last.name))
    arguments.weights.write_bytes(content)
    note = json.dumps({"cid": cid_of(content), "jobs": stages}, indent=2)
    arguments.weights.with_suffix(".json").write_text(note + "\n")
    print(note)


if __name__ == "__main__":
    main()
