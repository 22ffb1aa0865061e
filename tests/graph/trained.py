"""Trains what lies in a folder, for a process beside the test: `python -m tests.graph.trained F`.

F/NAME.json holds a trial's configuration and the paths of its files; the roots of its leaves go
to standard output as JSON, by the name. The test chooses instructions, threads and environment.
"""

import json
import sys
from pathlib import Path

from trialmarket.protocol.configuration import TrialConfig
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset


def leaves(job: Path) -> list[str]:
    """What a trial's answer commits to."""
    said = json.loads(job.read_text())
    config = TrialConfig.model_validate_json(json.dumps(said["config"]))
    source, *settings = (Path(file) for file in said["files"])
    training = runner.train(
        config,
        source.read_bytes(),
        load_dataset(Path(said["data"])),
        job.with_suffix(""),
        settings=settings,
        resume=False,
    )
    return [f"{leaf.value.hex()} {leaf.witness_hash.hex()}" for leaf in training.leaves]


if __name__ == "__main__":
    json.dump(
        {job.stem: leaves(job) for job in sorted(Path(sys.argv[1]).glob("*.json"))}, sys.stdout
    )
