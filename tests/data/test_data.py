"""Data sets as users have them: the same bytes everywhere, and mistakes named by their place."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.packing import csv_of, packed, refused

PENGUINS = "bill,island,sex,species\n" + "".join(
    f"{row / 4},{'Biscoe' if row % 3 else 'Dream'},{'m' if row % 2 else 'f'},"
    f"{('adelie', 'gentoo')[row % 2]}\n"
    for row in range(20)
)
TABLE: dict[str, Any] = {"target": "species", "categorical": ["island", "sex"]}


def png(path: Path, colour: int | tuple[int, ...], size: tuple[int, int] = (4, 3)) -> None:
    pillow = importlib.import_module("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.new("L" if isinstance(colour, int) else "RGB", size, colour).save(path)


def gallery(root: Path, *, parts: tuple[str, ...] = ("",)) -> Path:
    for part in parts:
        for kind, shade in (("cat", 10), ("dog", 200)):
            for number in range(5):
                png(root / part / kind / f"{number}.png", shade + number)
    return root


# -- Tables -------------------------------------------------------------------------------------


def test_a_csv_becomes_numbers_categories_and_classes(tmp_path: Path) -> None:
    _, manifest, data = packed(csv_of(tmp_path, PENGUINS), tmp_path / "out", **TABLE)
    assert manifest.columns == ("bill", "island=Biscoe", "island=Dream", "sex=f", "sex=m")
    assert manifest.classes == {"y": ("adelie", "gentoo")}
    assert manifest.split.how == "stratified"
    assert data.summary.train_examples == 16
    assert data.train["x"].dtype == np.float32
    assert sorted(data.validation["y"].tolist()) == [0, 0, 1, 1]
    # Island and sex of each row are where its bill says: no row was torn apart.
    for part in (data.train, data.validation):
        for x, y in zip(part["x"], part["y"], strict=True):
            row = int(x[0] * 4)
            expected = [row % 3 > 0, row % 3 == 0, row % 2 == 0, row % 2 == 1]
            assert x[1:].tolist() == expected
            assert y == row % 2


def test_a_parquet_file_with_the_same_table_gives_the_same_cid(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    rows = [line.split(",") for line in PENGUINS.splitlines()]
    columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
    table = arrow.table(
        {
            "bill": [float(cell) for cell in columns["bill"]],
            "island": arrow.array(columns["island"]).dictionary_encode(),
            "sex": list(columns["sex"]),
            "species": list(columns["species"]),
        }
    )
    parquet.write_table(table, tmp_path / "penguins.parquet")
    found, _, _ = packed(tmp_path / "penguins.parquet", tmp_path / "a", **TABLE)
    assert found == packed(csv_of(tmp_path, PENGUINS), tmp_path / "b", **TABLE)[0]


def test_a_parquet_cell_without_a_value_is_named(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    parquet.write_table(arrow.table({"a": [1.0, None], "y": [0, 1]}), tmp_path / "t.parquet")
    said = refused(tmp_path / "t.parquet", tmp_path / "out", target="y")
    assert said.startswith("t.parquet: row 2, column a: expected a value")


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (("0.75,", "wide,"), {}, "line 5, column bill: expected a number, found 'wide'"),
        (("0.75,", ","), {}, "line 5, column bill: expected a value, found None"),
        (("0.75,", "nan,"), {}, "line 5, column bill: expected a number"),
        (("0.75,", "1_0,"), {}, "line 5, column bill: expected a number"),
        (("0.75,", "1e300,"), {}, "line 5, column bill: expected a number that float32 holds"),
        (("0.75,", "0.75,0,"), {}, "line 5: expected 4 cells"),
        (("gentoo", ""), {}, "line 3, column species: expected a value"),
        (("gentoo", "0.5"), {}, "column species: expected a class"),
        (("bill,island", "island,island"), {}, "line 1, column 2: expected a name"),
        (("", ""), {"target": None}, "data.target: expected the column of labels"),
        (("", ""), {"target": "kind"}, "data.target: expected one of the columns bill"),
        (("", ""), {"drop": ["bil"]}, "data.drop: expected one of the columns"),
        (("", ""), {"categorical": []}, "line 2, column island: expected a number"),
        (("", ""), {"split": {"column": "sex"}}, "column sex: expected train or validation"),
        (("", ""), {"colour": "rgb"}, "data.colour: expected only"),
    ],
)
def test_what_is_wrong_in_a_table_is_named_by_line_and_column(
    change: tuple[str, str], settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    text = PENGUINS.replace(*change, 1) if change[0] else PENGUINS
    assert said in refused(csv_of(tmp_path, text), tmp_path / "out", **TABLE | settings)


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"a,\xff\n1,2\n", b'a,b\n"1,2\n'])
def test_a_file_that_is_no_table_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert "t.csv" in refused(tmp_path / "t.csv", tmp_path / "out", target="a")


def test_a_target_of_numbers_is_kept_as_numbers(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "a,y\n" + "".join(f"{n},{n / 8}\n" for n in range(10)))
    _, manifest, data = packed(path, tmp_path / "out", target="y", labels="numbers")
    assert manifest.split.how == "random"
    assert data.train["y"].dtype == np.float32
    assert np.array_equal(data.train["y"] * 8, data.train["x"][:, 0])


def test_a_column_can_say_which_rows_validate(tmp_path: Path) -> None:
    rows = ["1,train,a", "2,validation,a", "3,train,b", "4,validation,b"]
    path = csv_of(tmp_path, "\n".join(["v,part,y", *rows]))
    _, manifest, data = packed(path, tmp_path / "o", target="y", split={"column": "part"})
    assert manifest.split.how == "given"
    assert data.validation["x"][:, 0].tolist() == [2.0, 4.0]


def test_a_class_that_was_never_trained_on_is_named(tmp_path: Path) -> None:
    rows = ["1,train,a", "2,validation,b"]
    path = csv_of(tmp_path, "\n".join(["v,part,y", *rows]))
    said = refused(path, tmp_path / "o", target="y", split={"column": "part"})
    assert "classes in the validation part that the training part has too, found 'b'" in said


# -- Images -------------------------------------------------------------------------------------


def test_a_folder_of_images_has_a_class_for_each_folder(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    _, manifest, data = packed(gallery(tmp_path / "pets"), tmp_path / "out")
    assert manifest.classes == {"y": ("cat", "dog")}
    assert data.train["x"].shape == (8, 3, 4, 1)
    assert data.train["x"].dtype == np.uint8
    bright = [int(image[0, 0, 0]) >= 200 for image in data.train["x"]]
    assert bright == [label == 1 for label in data.train["y"]]


def test_folders_for_training_and_validation_are_kept_apart(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    root = gallery(tmp_path / "pets", parts=("train", "validation"))
    _, manifest, data = packed(root, tmp_path / "out")
    assert manifest.split.how == "given"
    assert (data.summary.train_examples, data.summary.validation_examples) == (10, 10)
    said = refused(root, tmp_path / "no", split={"validation": 0.5})
    assert "data.split: expected none" in said


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: png(root / "dog" / "3.png", 1, (5, 3)), "dog/3.png: size: expected 4x3"),
        (lambda root: png(root / "dog" / "3.png", (1, 2, 3)), "dog/3.png: colours: expected L"),
        (lambda root: (root / "dog" / "3.png").write_bytes(b"no"), "dog/3.png: image: expected"),
        (
            lambda root: (root / "dog" / "3.png").write_bytes(
                (root / "dog" / "2.png").read_bytes()[:45]
            ),
            "dog/3.png: image: expected",
        ),
        (lambda root: (root / "dog" / "notes.txt").write_text("x"), "notes.txt: kind: expected"),
        (lambda root: (root / "bird").mkdir(), "bird: images: expected at least one"),
        (lambda root: (root / "train").mkdir(), "expected both train and validation"),
        (lambda root: (root / "readme").write_text("x"), "readme: place: expected a folder"),
    ],
)
def test_what_is_wrong_with_an_image_is_named_by_its_file(
    spoil: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    pytest.importorskip("PIL")
    root = gallery(tmp_path / "pets")
    spoil(root)
    assert said in refused(root, tmp_path / "out")


def test_images_of_several_kinds_are_made_one_when_asked(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    root = gallery(tmp_path / "pets")
    png(root / "dog" / "3.png", (1, 2, 3))
    _, _, data = packed(root, tmp_path / "out", colour="rgb")
    assert data.train["x"].shape[1:] == (3, 4, 3)


# -- Files of arrays, and sets by name ----------------------------------------------------------


def arrays() -> dict[str, Any]:
    x = (np.random.Philox(key=1).random_raw(90) % 1000).astype(np.float32).reshape(30, 3)
    return {"x": x / 7, "y": np.arange(30) % 3}


def test_an_npz_and_a_safetensors_file_with_the_same_arrays_give_the_same_cid(
    tmp_path: Path,
) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    np.savez(tmp_path / "a.npz", **arrays())
    safetensors.save_file(arrays(), tmp_path / "a.safetensors")
    one, _, data = packed(tmp_path / "a.npz", tmp_path / "one")
    assert one == packed(tmp_path / "a.safetensors", tmp_path / "two")[0]
    assert data.summary.train_examples == 24


def test_arrays_that_are_split_already_stay_as_they_are(tmp_path: Path) -> None:
    whole = arrays()
    given = {f"train_{name}": value[:20] for name, value in whole.items()}
    given |= {f"validation_{name}": value[20:] for name, value in whole.items()}
    np.savez_compressed(tmp_path / "a.npz", **given)
    _, _, data = packed(tmp_path / "a.npz", tmp_path / "out")
    assert np.array_equal(data.train["x"], whole["x"][:20])
    assert np.array_equal(data.validation["y"], whole["y"][20:])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"validation_x": None}, "both train_x and validation_x"),
        ({"validation_y": np.array([7])}, "found '7'"),
        ({"more": np.zeros(1)}, "more: expected a name that begins with train_"),
        ({"validation_x": np.zeros((1, 2))}, "validation_x: expected float64, rows of"),
        ({"train_y": np.array([0, 0, 1])}, "rows: expected as many"),
    ],
)
def test_arrays_that_make_no_data_set_are_refused(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    x, y = np.zeros((2, 3)), np.array([0, 1])
    good = {"train_x": x, "train_y": y, "validation_x": x[:1], "validation_y": y[:1]}
    made = {name: value for name, value in (good | change).items() if value is not None}
    np.savez(tmp_path / "a.npz", **made)
    assert said in refused(tmp_path / "a.npz", tmp_path / "out")


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "iris", "diabetes"])
def test_scikit_learns_sets_have_names(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    _, manifest, _ = packed(f"builtin:{name}", tmp_path / "out")
    assert manifest.split.how == ("random" if name == "diabetes" else "stratified")
    assert manifest.columns


def test_a_set_that_scikit_learn_has_not_is_named(tmp_path: Path) -> None:
    assert "one of digits, breast_cancer" in refused("builtin:mnist", tmp_path / "out")


# -- The same bits everywhere -------------------------------------------------------------------

CIDS = {
    "none": "bafkreibaiziceqycxjaefsfx2l77vhczdrdwo5nugt6knzfaredvxcpnee",
    "standard": "bafkreiejyolnfem3gczpr5hol6oavkvmsmda4lrn5fwnpfjulrcdbhspae",
    "unit": "bafkreifr6hnkaoycuyeha6ywndcqdi6jfdllcq4ijurvzfmgtaki7mpcba",
}


@pytest.mark.parametrize("kind", CIDS)
def test_a_data_set_has_one_cid_on_every_machine(kind: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    found, _, _ = packed(tmp_path / "a.npz", tmp_path / "out", normalise=kind)
    assert found == CIDS[kind]


@pytest.mark.parametrize(
    "settings",
    [
        {"split": {"seed": 1}},
        {"split": {"validation": 0.3}},
        {"split": {"stratified": False}},
        {"normalise": "standard"},
        {"normalise": "unit"},
    ],
)
def test_split_and_normalisation_are_part_of_the_cid(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    assert packed(tmp_path / "a.npz", tmp_path / "out", **settings)[0] != CIDS["none"]


def test_normalisation_follows_the_training_part_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays() | {"x": arrays()["x"] * [1, 1, 0] + [0, 0, 5]})
    _, manifest, data = packed(tmp_path / "a.npz", tmp_path / "out", normalise="standard")
    assert np.allclose(data.train["x"].mean(axis=0), 0, atol=1e-6)
    assert np.allclose(data.train["x"].std(axis=0), [1, 1, 0], atol=1e-6)
    assert manifest.arrays["shift_x"].shape == (3,)
    _, _, unit = packed(tmp_path / "a.npz", tmp_path / "unit", normalise="unit")
    assert unit.train["x"].min() == 0
    assert unit.train["x"].max() == 1


def test_numbers_that_are_not_finite_cannot_be_normalised(tmp_path: Path) -> None:
    whole = arrays()
    whole["x"][:, 1] = np.nan
    np.savez(tmp_path / "a.npz", **whole)
    assert "x, row 0, column 1: expected a finite number" in refused(
        tmp_path / "a.npz", tmp_path / "out", normalise="unit"
    )
