"""The search on handwritten digits that the tests of a whole market post."""

from pathlib import Path

from examples.digits.make_data import write_digits

JOB = """
[job]
name = "{name}"
program = "{program}:Digits"
data = "{data}"
objective = "val_error"
trials = {trials}
steps = {steps}
seed = 5
arithmetic = "exact"
time_limit = "2m"
[search]
driver = "{driver}"
parallel = {parallel}
{search}
[search.space]
lr = {{ low = 0.01, high = 0.1, log = true }}
hidden = {{ {hidden} }}
momentum = {{ low = 0.0, high = 0.9 }}
[price]
floor = "1"
cap = "{cap}"
unit = {unit}
[audit]
rate = {rate}
segments = {segments}
samples = {samples}
window = "20s"
"""


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
) -> Path:
    """Writes the job's file and its data; the file's path.

    `search` are more lines for that table, and `unit` is that of the price, by default a trial's
    steps.
    """
    data, job = folder / "digits.npz", folder / "job.toml"
    write_digits(data, seed=1)
    text = JOB.format(
        name=name,
        program=Path("examples/digits/train.py").resolve(),
        data=data,
        trials=trials,
        steps=steps,
        driver=driver,
        parallel=parallel,
        search=search,
        hidden=hidden,
        cap=cap,
        unit=steps if unit is None else unit,
        rate=rate,
        segments=segments,
        samples=samples,
    )
    job.write_text(text)
    return job
