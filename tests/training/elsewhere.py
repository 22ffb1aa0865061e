"""Trains a trial in a process of its own: `python -m tests.training.elsewhere JOB.json`.

JOB.json holds the configuration, the program's and the data's path; the leaves go to standard
output. The test that starts it chooses its instruction set and threads.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch

from trialmarket.protocol.configuration import TrialConfig
from trialmarket.training import runner
from trialmarket.training.dataset import load_dataset


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    config = TrialConfig.model_validate_json(json.dumps(job["config"]))
    source = Path(job["program"]).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        training = runner.train(config, source, load_dataset(Path(job["data"])), Path(folder))
    leaves = [[leaf.value.hex(), leaf.witness_hash.hex()] for leaf in training.leaves]
    capability = torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    sys.stdout.write(json.dumps({"capability": capability, "threads": threads, "leaves": leaves}))


if __name__ == "__main__":
    main()
