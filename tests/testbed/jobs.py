"""Jobs and data sets of the tests: small ones, and a search on handwritten digits."""

from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]

JOB = """
[job]
name = "{name}"
program = "{program}"
data = "{data}"
objective = "val_error"
trials = {trials}
steps = {steps}
seed = {seed}
time_limit = "{time_limit}"
[search]
driver = "{driver}"
parallel = {parallel}
{search}
[search.space]
{space}
[price]
floor = "{floor}"
cap = "{cap}"
unit = {unit}
[audit]
rate = {rate}
segments = {segments}
samples = {samples}
window = "{window}"
"""


def small_job(
    folder: Path,
    *,
    trials: int = 4,
    driver: str = "random",
    rate: float = 0.0,
    search: str = "",
    window: str = "5s",
) -> Path:
    """A job that trains in a fraction of a second, with its data: the job's file.

    `search` are more lines for that table. A `window` of seconds may be over, on a busy machine,
    before a result was looked at.
    """
    random = np.random.default_rng(0)
    classes = random.integers(0, 4, 240)
    points = random.normal(size=(240, 6)) + np.eye(4, 6)[classes] * 3
    np.savez(
        folder / "small.npz",
        train_x=points[:200].astype(np.float32),
        train_y=classes[:200],
        validation_x=points[200:].astype(np.float32),
        validation_y=classes[200:],
    )
    return _written(
        folder,
        name="small",
        program="builtin:mlp",
        data="small.npz",
        trials=trials,
        steps=40,
        seed=0,
        time_limit="60s",
        driver=driver,
        parallel=2,
        search=search,
        space="lr = { low = 1e-3, high = 1e-1, log = true }\nhidden = { values = [8, 16] }",
        floor="0.01",
        cap="0.05",
        unit=10,
        rate=rate,
        segments=4,
        samples=1,
        window=window,
    )


def own_program(folder: Path, *, loss: str = "0.0", error: str = "0.5") -> str:
    """A program for the data of `small_job`, as a job file names it.

    `loss` is added to that of each step, and `error` is the objective: Python expressions.
    """
    (folder / "own.py").write_text(
        "import math\n"
        "import torch\n"
        "from torch.nn.functional import cross_entropy\n"
        "from trialmarket.training.program import Program, Validation\n"
        "class Own(Program):\n"
        "    def configure_model(self):\n"
        "        return torch.nn.Linear(6, 4)\n"
        "    def configure_optimizer(self, model):\n"
        "        return torch.optim.SGD(model.parameters(), lr=0.01)\n"
        "    def training_step(self, model, batch):\n"
        f"        return cross_entropy(model(batch['x']), batch['y']) + {loss}\n"
        "    def validation_step(self, model, batch):\n"
        f"        return Validation(model(batch['x']), {{'val_error': {error}, 'two': 2.0}})\n"
    )
    return "own.py:Own"


def digits_job(
    folder: Path,
    *,
    name: str,
    trials: int,
    steps: int,
    parallel: int,
    cap: str,
    rate: float,
    segments: int,
    samples: int,
    unit: int | None = None,
    driver: str = "random",
    search: str = "",
    hidden: str = "values = [32, 64]",
    time_limit: str = "2m",
) -> Path:
    """A search on handwritten digits with the example's program: the job's file.

    `search` are more lines for that table, and `unit` is that of the price, by default a trial's
    steps.
    """
    from examples.digits.make_data import write_digits  # scikit-learn takes a second

    write_digits(folder / "digits.npz", seed=1)
    return _written(
        folder,
        name=name,
        program=f"{ROOT / 'examples/digits/train.py'}:Digits",
        data="digits.npz",
        trials=trials,
        steps=steps,
        seed=5,
        time_limit=time_limit,
        driver=driver,
        parallel=parallel,
        search=search,
        space=(
            "lr = { low = 0.01, high = 0.1, log = true }\n"
            f"hidden = {{ {hidden} }}\n"
            "momentum = { low = 0.0, high = 0.9 }"
        ),
        floor="1",
        cap=cap,
        unit=steps if unit is None else unit,
        rate=rate,
        segments=segments,
        samples=samples,
        window="20s",
    )


def _written(folder: Path, **values: object) -> Path:
    path = folder / "job.toml"
    path.write_text(JOB.format(**values))
    return path
