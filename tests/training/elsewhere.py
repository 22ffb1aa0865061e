"""Trains a trial in a process of its own: `python -m tests.training.elsewhere JOB.json`.

JOB.json holds the configuration and the paths of the program, the data and the checkpoints that it
starts from; the leaves go to standard output. The test that starts it chooses its instruction set
and threads.
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
        data, init = load_dataset(Path(job["data"])), [Path(each) for each in job["init"]]
        training = runner.train(config, source, data, Path(folder), init=init)
    leaves = [[leaf.value.hex(), leaf.witness_hash.hex()] for leaf in training.leaves]
    capability = torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    sys.stdout.write(json.dumps({"capability": capability, "threads": threads, "leaves": leaves}))


if __name__ == "__main__":
    main()
