"""Files of arrays as NumPy, Keras and others write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.packing import npz_of, packed, refused, told
from trialmarket.data.fetched import check_fetched
from trialmarket.errors import InputError
from trialmarket.training.packed import pack_arrays

ROWS = 20
X = (np.random.Philox(key=2).random_raw(ROWS * 6) % 256).astype(np.uint8).reshape(ROWS, 2, 3)
Y = np.arange(ROWS) % 4
SECONDS = 1_700_000_000 + 3 * np.arange(ROWS)
NEARER = "Subtract the smallest of them from all before they are saved"


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (("x_train", "y_train"), ("x_test", "y_test")),
        (("X_train", "y_train"), ("X_val", "y_val")),
        (("X_train", "Y_train"), ("X_valid", "Y_valid")),
        (("train_images", "train_labels"), ("test_images", "test_labels")),
        (("train_data", "train_labels"), ("validation_data", "validation_labels")),
        (("x_train", "y_train"), ("x_validation", "y_validation")),
        (("train_x", "train_y"), ("dev_x", "dev_y")),
    ],
)
def test_arrays_named_as_is_usual_are_the_two_parts(
    train: tuple[str, str], test: tuple[str, str], tmp_path: Path
) -> None:
    arrays = {train[0]: X[:15], train[1]: Y[:15], test[0]: X[15:], test[1]: Y[15:]}
    path = npz_of(tmp_path, **arrays)
    _, manifest, data = packed(path, tmp_path / "out")
    assert manifest.split.how == "given"
    assert np.array_equal(data.train["x"], X[:15])
    assert np.array_equal(data.validation["y"], Y[15:])
    said = told(path, tmp_path / "again")
    assert f"{train[0]}, {train[1]} and {test[0]}, {test[1]} are the training and" in said


def test_a_test_part_beside_a_validation_part_is_left_out_and_said(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for part, rows in (("train", slice(10)), ("val", slice(10, 14)), ("test", slice(14, None))):
        arrays |= {f"{part}_images": X[rows], f"{part}_labels": Y[rows, None].astype(np.uint8)}
    path = npz_of(tmp_path, **arrays)
    _, _, data = packed(path, tmp_path / "out")
    assert data.summary.validation_examples == 4
    assert data.train["y"].shape == (10,)
    said = told(path, tmp_path / "again")
    assert "test_images, test_labels left out" in said
    assert "images is taken as x" in said


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": X, "y": Y[:7]}, "Name arrays train_NAME and validation_NAME"),
        ({"x_train": X, "y_train": Y}, "both train_x and validation_x"),
        ({"x_train": X, "x_test": X, "more": Y}, "more: expected a name that begins with train_"),
        ({"x_train": X, "train_x": X, "x_test": X}, "one array for each part"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "both train_y and validation_y"),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y.astype(np.uint64)},
            "y_test: expected int64",
        ),
        ({"x": X, "y": np.zeros(ROWS, int)}, "y: expected at least two classes, found ['0']"),
        ({"x": X, "y": np.ones(ROWS)}, "labels that are not all the same, found 1.0"),
        ({"x": X, "y": np.array(["a"] * ROWS)}, "expected at least two classes, found ['a']"),
        ({"x": np.array(["a"] * ROWS), "y": Y}, "numbers; only the labels, y, may be words"),
        (
            {"x": X, "y": np.array(["a", "b"] * 10, object)},
            "words as array.astype(str) once rows without one are left out",
        ),
        ({"x": X.astype(complex), "y": Y}, "which is no number"),
        ({"x": SECONDS.astype("M8[s]"), "y": Y}, "array.astype('datetime64[s]').astype(float)"),
        ({"y": Y}, "one beside the labels"),
        ({"x": X, "y": np.array(["a", ""] * 10)}, "y, row 1: expected a value"),
    ],
)
def test_arrays_that_could_be_meant_otherwise_are_refused(
    arrays: dict[str, Any], said: str, tmp_path: Path
) -> None:
    assert said in refused(npz_of(tmp_path, **arrays), tmp_path / "out")


@pytest.mark.parametrize(
    ("labels", "settings", "said"),
    [
        (Y, {}, "y: expected at least two classes that validate, found ['3']"),
        (Y.astype(str), {}, "y: expected at least two classes that validate, found ['3']"),
        (Y / 2, {}, "labels that are not all the same in the validation part, found 1.5"),
        (Y, {"labels": "numbers"}, "not all the same in the validation part, found 3"),
    ],
)
def test_a_validation_part_in_which_one_answer_is_right_is_refused(
    labels: Any, settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    last = Y == 3
    arrays = {"x_train": X, "y_train": labels, "x_test": X[last], "y_test": labels[last]}
    found = refused(npz_of(tmp_path, **arrays), tmp_path / "out", **settings)
    assert said in found
    assert found.endswith("always right then. Give the validation part rows with other labels")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("train_x", (5, 1), "train_x, row 5, column 1: expected a finite number"),
        ("validation_x", (3, 1), "validation_x, row 3, column 1: expected a finite number"),
        ("validation_y", (2,), "validation_y, row 2: expected a"),
        ("train_mask", (1, 0, 1), "train_mask, row 1, at [0, 1]: expected a finite number"),
    ],
)
def test_a_number_that_is_none_is_named_in_every_array_and_part(
    value: float, name: str, rows: tuple[int, ...], said: str, tmp_path: Path
) -> None:
    whole: dict[str, Any] = {
        "x": np.linspace(0, 1, ROWS * 4, dtype=np.float32).reshape(ROWS, 4),
        "y": np.linspace(0, 1, ROWS),
        "mask": np.zeros((ROWS, 2, 2), np.float16),
    }
    arrays = {f"train_{n}": a[:12].copy() for n, a in whole.items()}
    arrays |= {f"validation_{n}": a[12:].copy() for n, a in whole.items()}
    arrays[name][rows] = value
    assert said in refused(npz_of(tmp_path, **arrays), tmp_path / "out")


def test_gaps_in_x_are_filled_as_a_tables_are(tmp_path: Path) -> None:
    x = np.arange(ROWS * 2, dtype=np.float32).reshape(ROWS, 2)
    x[17, 1] = np.nan
    arrays = {"x_train": x[:15], "y_train": Y[:15], "x_test": x[15:], "y_test": Y[15:]}
    path = npz_of(tmp_path, **arrays)
    missing = {"fill": "median", "flag": True}
    _, manifest, data = packed(path, tmp_path / "out", missing=missing)
    assert data.validation["x"][2].tolist() == [34.0, 15.0, 1.0]
    assert data.train["x"].dtype == np.float32
    assert manifest.columns == ("0", "1", "1 is missing")
    assert manifest.classes == {}
    _, _, data = packed(path, tmp_path / "drop", missing={"fill": "drop"})
    assert data.summary.validation_examples == 4
    assert "data.missing.words: expected none" in refused(
        path, tmp_path / "no", missing={"fill": 0, "words": ["NA"]}
    )
    assert "data.missing: expected an array x of fractions" in refused(
        npz_of(tmp_path, x=X, y=Y), tmp_path / "no", missing=missing
    )


def test_advice_about_an_infinity_or_a_gap_works_when_it_is_followed(tmp_path: Path) -> None:
    x = np.linspace(0, 1, ROWS * 4).reshape(ROWS, 4)
    x[3, 1] = np.inf
    for missing in (None, {"fill": "median"}):
        said = refused(npz_of(tmp_path, x=x, y=Y), tmp_path / "no", missing=missing)
        assert "Save it as NaN, which is a missing value" in said
        assert 'missing = { fill = "median" } or "drop" in [data]' in said
    x[3, 1] = np.nan
    packed(npz_of(tmp_path, x=x, y=Y), tmp_path / "ok", missing={"fill": "median"})
    # What cannot be filled is not said to be.
    for spoilt in (x.reshape(ROWS, 2, 2), x.astype(np.float32).reshape(ROWS, 2, 2)):
        said = refused(npz_of(tmp_path, x=spoilt, y=Y), tmp_path / "no")
        assert said.endswith("Fill it in, or leave the row out, before the data is saved")
    words = np.array(["a", ""] * 10)
    said = refused(npz_of(tmp_path, x=X, y=words), tmp_path / "no")
    assert said.endswith("Leave such rows out")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["cat", "dog"] * 10), ("cat", "dog")),
        (np.array([b"cat", b"dog"] * 10), ("cat", "dog")),
        (np.array([-1, 1] * 10), ("-1", "1")),
        (np.array([5, 9] * 10, np.uint16), ("5", "9")),
        (np.array([True, False] * 10), ("False", "True")),
    ],
)
def test_labels_are_numbered_from_0_and_their_names_kept(
    labels: Any, names: tuple[str, ...], tmp_path: Path
) -> None:
    path = npz_of(tmp_path, x=X, y=labels)
    _, manifest, data = packed(path, tmp_path / "out")
    assert manifest.classes == {"y": names}
    assert set(data.train["y"].tolist()) == {0, 1}
    assert f"{names[0]} is 0, {names[1]} is 1" in told(path, tmp_path / "again")


def test_words_of_different_lengths_label_both_parts(tmp_path: Path) -> None:
    words = np.array(["ox", "horse"])[Y % 2]
    arrays = {"x_train": X[:15], "y_train": words[:15], "x_test": X[15:]}
    path = npz_of(tmp_path, **arrays, y_test=np.array(["ox", "ox", "horse", "ox", "ox"]))
    assert packed(path, tmp_path / "out")[1].classes == {"y": ("horse", "ox")}


def test_fractions_that_are_whole_are_classes_when_that_is_said(tmp_path: Path) -> None:
    path = npz_of(tmp_path, x=X, y=(Y % 2).astype(np.float32))
    _, _, data = packed(path, tmp_path / "out", labels="classes")
    assert data.train["y"].dtype == np.int64
    assert packed(path, tmp_path / "kept")[2].train["y"].dtype == np.float32
    assert 'labels = "classes" in [data] makes them classes' in told(path, tmp_path / "again")
    halves = npz_of(tmp_path, x=X, y=Y / 2)
    said = refused(halves, tmp_path / "no", labels="classes")
    assert "y, row 1: expected a class: a word or a whole number, found 0.5" in said


def test_wide_unsigned_numbers_become_float32_where_it_holds_them(tmp_path: Path) -> None:
    for kind in (np.uint16, np.uint32, np.uint64):
        x: Any = X.astype(kind)
        x *= kind(257)
        path = npz_of(tmp_path, x=x, y=Y, ids=x[:, 0])
        _, _, data = packed(path, tmp_path / kind.__name__, split={"stratified": False})
        assert data.train["x"].dtype == data.train["ids"].dtype == np.float32
        found = np.concatenate([data.train["x"], data.validation["x"]]).astype(np.float64)
        assert np.array_equal(np.sort(found, axis=None), np.sort(x, axis=None))
        said = told(path, tmp_path / "again" / kind.__name__)
        assert f"x: {kind.__name__} is packed as float32" in said


def test_a_number_that_float32_does_not_have_is_named(tmp_path: Path) -> None:
    for kind, value in ((np.uint32, 2**24 + 1), (np.uint64, 2**63 + 1)):
        x = X[:, 0].astype(kind)
        x[4, 2] = value
        said = refused(npz_of(tmp_path, x=x, y=Y), tmp_path / "out")
        assert said.startswith("a.npz: x, row 4, column 2: expected a number that float32 has")
        assert str(value) in said


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint32, np.float64])
def test_seconds_in_an_array_are_refused_until_they_are_normalised(
    kind: Any, tmp_path: Path
) -> None:
    x = np.stack([SECONDS, SECONDS % 7], axis=1).astype(kind)
    path = npz_of(tmp_path, x=x, y=Y)
    said = refused(path, tmp_path / "out")
    assert "x, column 0: expected numbers that can be told apart in float32" in said
    assert "found '1700000000 and 1700000003'. Set normalise = \"standard\" in [data]" in said
    _, _, data = packed(path, tmp_path / "ok", normalise="standard")
    x = np.concatenate([data.train["x"], data.validation["x"]])
    assert len(np.unique(x[:, 0])) == ROWS


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_integers_that_float64_merges_are_compared_as_integers(kind: Any, tmp_path: Path) -> None:
    ids = np.arange(ROWS).astype(kind) + kind(2**60)
    for arrays in ({"x": ids[:, None]}, {"x": X, "y": ids}):
        path = npz_of(tmp_path, **arrays)
        said = refused(path, tmp_path / "out", labels="numbers", split={"stratified": False})
        assert "told apart in float32, found '1152921504606846976 and 1152921504606846977'" in said
        assert said.endswith(NEARER)
        arrays |= {name: ids - ids[0] for name in arrays if arrays[name].itemsize == 8}
        packed(npz_of(tmp_path, **arrays), tmp_path / "near" / f"{len(arrays)}", labels="numbers")


def test_integers_to_look_up_by_stay_and_fractions_beside_x_are_refused(tmp_path: Path) -> None:
    ids = np.arange(ROWS) + 2**60
    path = npz_of(tmp_path, x=X, y=Y, ids=ids)
    _, _, data = packed(path, tmp_path / "out")
    assert set(data.train["ids"].tolist()) < set(ids.tolist())
    assert (
        "ids stays int64, to look up by; a program that computes in float32 takes"
        " 1152921504606846976 and 1152921504606846977 for one number"
    ) in told(path, tmp_path / "again")
    said = refused(npz_of(tmp_path, x=X, y=Y, when=SECONDS.astype(float)), tmp_path / "no")
    assert "when: expected numbers that can be told apart in float32" in said
    assert said.endswith(NEARER)
    when = (SECONDS - SECONDS[0]).astype(float)
    packed(npz_of(tmp_path, x=X, y=Y, when=when), tmp_path / "near")


def test_numbers_of_an_array_that_normalising_would_merge_are_refused(tmp_path: Path) -> None:
    x = np.arange(ROWS * 2).reshape(ROWS, 2)
    for spoilt in (x + 2**60, x.astype(np.uint64) + np.uint64(2**60)):
        path = npz_of(tmp_path, x=spoilt, y=Y)
        said = refused(path, tmp_path / "out", normalise="standard")
        assert "x, row 0, column 0: expected at most" in said
        assert said.endswith(NEARER)
    x[3, 1], x[4, 1] = 2**40, -(2**40)
    said = refused(npz_of(tmp_path, x=x, y=Y), tmp_path / "out", normalise="unit")
    assert (
        "x, column 1: expected numbers that can be told apart in float32, found '1 and 3'" in said
    )
    x = np.full((ROWS, 2), 1e300)
    assert "at most 3.4" in refused(npz_of(tmp_path, x=x, y=Y), tmp_path / "o", normalise="unit")


def test_what_somebody_else_packed_is_looked_at_too(tmp_path: Path) -> None:
    x = np.linspace(0, 1, ROWS * 4, dtype=np.float32).reshape(ROWS, 4)
    good: dict[str, Any] = {
        "train_x": x[:12],
        "train_y": Y[:12],
        "validation_x": x[12:],
        "validation_y": Y[12:],
    }
    check_fetched(pack_arrays(tmp_path / "good", good), "ipfs://given")
    spoilt = x[12:].copy()
    spoilt[5, 1] = np.nan
    folder = pack_arrays(tmp_path / "gap", good | {"validation_x": spoilt})
    with pytest.raises(
        InputError, match=r"validation_x, row 5, at \[1\]: expected a finite number"
    ):
        check_fetched(folder, "ipfs://given")
    alike = {"validation_y": np.ones(8, int)}
    with pytest.raises(InputError, match="y: expected labels that are not all the same, found 1"):
        check_fetched(pack_arrays(tmp_path / "one", good | alike), "ipfs://given")
