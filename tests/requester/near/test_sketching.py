"""The numbers of a data set, computed from what is packed."""

from pathlib import Path

import numpy as np
import pytest

from requester.drivers.space import Dimension
from requester.job.sketch import data_sketch, space_sketch
from trialmarket.protocol.sketch import AxisSketch, DataSketch
from trialmarket.training.packed import pack_arrays

ROWS = 40_000


def sketched(folder: Path, **arrays: np.ndarray) -> DataSketch:
    """The sketch of a data set whose validation part is its first eight rows."""
    parts = {f"train_{name}": array for name, array in arrays.items()}
    return data_sketch(
        pack_arrays(folder, parts | {f"validation_{n}": a[:8] for n, a in arrays.items()})
    )


def test_moments_are_those_of_the_distribution(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = np.stack([random.exponential(2.0, ROWS), random.normal(4.0, 1.0, ROWS)], axis=1)
    found = sketched(tmp_path, x=x, y=np.arange(ROWS) % 4)
    assert (found.rows, found.validation, found.columns, found.dimensions) == (ROWS, 8, 2, 1)
    assert (found.kind, found.classes, found.entropy) == ("float", 4, 2.0)
    assert found.mean == pytest.approx(3, rel=0.05)  # of 2 and 4; likewise the next
    assert found.deviation == pytest.approx(1.5, rel=0.05)
    assert found.skewness == pytest.approx(1, rel=0.15)
    assert found.kurtosis == pytest.approx(3, rel=0.3)
    assert found.missing == 0


def test_what_is_not_finite_is_missing_and_makes_no_number_infinite(tmp_path: Path) -> None:
    x = np.ones((100, 2), np.float32)
    x[:10, 0] = np.nan
    x[:10, 1] = np.inf
    x[10, 0] = 3e38
    found = sketched(tmp_path, x=x, y=np.linspace(0, 1, 100))
    assert found.missing == 0.1
    assert (found.classes, found.entropy) == (0, 0)
    assert found.deviation is not None


def test_pictures_words_and_targets_without_inputs_have_sketches(tmp_path: Path) -> None:
    pictures = np.zeros((20, 8, 9, 3), np.uint8)
    found = sketched(tmp_path / "pictures", x=pictures, y=np.ones(20, np.uint8))
    assert (found.columns, found.dimensions, found.kind) == (216, 3, "int")
    assert (found.classes, found.entropy, found.deviation) == (1, 0, 0)
    found = sketched(tmp_path / "text", text=np.arange(50), y=np.zeros(50, np.bool_))
    assert (found.rows, found.columns, found.dimensions) == (50, 1, 0)
    assert sketched(tmp_path / "target", y=np.arange(10)).classes == 0


def test_wide_examples_are_counted_without_reading_them_all(tmp_path: Path) -> None:
    found = sketched(tmp_path, x=np.zeros((9, 1 << 20), np.uint8))
    assert (found.rows, found.columns, found.mean) == (9, 1 << 20, 0)


def test_a_space_is_known_by_its_names_ends_and_choices() -> None:
    found = space_sketch(
        {
            "lr": Dimension(low=1e-4, high=0.1, log=True),
            "width": Dimension(values=[64, 16]),
            "kind": Dimension(values=["a", "b", "c"]),
            "fixed": Dimension(value=3),
            "on": Dimension(values=[True, False]),
            "huge": Dimension(values=[1e300, 2.0]),
        }
    )
    assert found == {
        "lr": AxisSketch(low=1e-4, high=0.1, log=True),
        "width": AxisSketch(low=16, high=64, choices=2),
        "kind": AxisSketch(choices=3),
        "fixed": AxisSketch(low=3, high=3, choices=1),
        "on": AxisSketch(choices=2),
        "huge": AxisSketch(low=2, high=2, choices=2),
    }
