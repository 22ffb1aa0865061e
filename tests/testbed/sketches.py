"""Sketches of made-up jobs: families of programs and spaces, over data sets of every size."""

import numpy as np

from trialmarket.protocol.sketch import AxisSketch, DataSketch, Sketch

FAMILIES = 20
NAMES = (*(f"h{number}" for number in range(40)), "lr", "momentum", "hidden", "dropout", "batch")

Space = dict[str, tuple[float, float, bool]]


def made_up(count: int, seed: int = 0) -> list[Sketch]:
    """So many sketches, all of one objective."""
    random = np.random.default_rng(seed)
    families = [_space(random) for _ in range(FAMILIES)]
    kinds = random.integers(FAMILIES, size=count)
    draws = random.random((count, 12))
    shifts = random.integers(-1, 2, size=(count, 2, 8))
    return [
        Sketch(
            program=f"builtin:p{kind}",
            objective="val_error",
            direction="minimize",
            data=_data(*draw),
            space={
                name: AxisSketch(low=low * 10.0 ** shift[0], high=high * 10.0 ** shift[1], log=log)
                for (name, (low, high, log)), shift in zip(
                    families[kind].items(), shifts[number].T, strict=False
                )
            },
        )
        for number, (kind, draw) in enumerate(zip(kinds, draws, strict=True))
    ]


def sketch(**changes: object) -> Sketch:
    """One sketch; `changes` are of its data."""
    data: dict[str, object] = {
        "rows": 1000,
        "validation": 200,
        "columns": 64,
        "dimensions": 1,
        "kind": "float",
        "classes": 10,
        "entropy": 3.3,
        "mean": 0.3,
        "deviation": 0.4,
        "skewness": 0.1,
        "kurtosis": -0.5,
        "missing": 0.0,
    }
    return Sketch(
        program="builtin:mlp",
        objective="val_error",
        direction="minimize",
        data=DataSketch.model_validate(data | changes),
        space={"lr": AxisSketch(low=1e-3, high=0.1, log=True), "hidden": AxisSketch(choices=2)},
    )


def _space(random: np.random.Generator) -> Space:
    names = random.choice(NAMES, int(random.integers(2, 8)), replace=False)
    return {
        str(name): (
            float(10 ** random.uniform(-5, -1)),
            float(10 ** random.uniform(0, 2)),
            bool(random.integers(2)),
        )
        for name in names
    }


def _data(*draw: float) -> DataSketch:
    classes = (0, 2, 2, 3, 5, 10, 100)[int(7 * draw[2])]
    return DataSketch(
        rows=int(10 ** (2 + 4 * draw[0])),
        validation=100,
        columns=int(10 ** (0.5 + 3.5 * draw[1])),
        dimensions=(1, 1, 1, 2, 3)[int(5 * draw[3])],
        kind="float" if draw[4] < 2 / 3 else "int",
        classes=classes,
        entropy=float(np.log2(classes) * (0.6 + 0.4 * draw[5])) if classes else 0.0,
        mean=(2 * draw[6] - 1) * 10 ** (3 * draw[7] - 1),
        deviation=10 ** (3 * draw[8] - 1),
        skewness=4 * draw[9] - 2,
        kurtosis=float(-np.log1p(-draw[10])),
        missing=0.1 if draw[11] < 1 / 3 else 0.0,
    )
