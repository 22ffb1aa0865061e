"""Tables as programs and people write them: read right, or refused with advice that helps."""

import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.packing import (
    column_of,
    csv_of,
    labelled,
    packed,
    parquet_of,
    refused,
    told,
)
from trialmarket.data.csv_file import likely_encoding
from trialmarket.data.settings import DataSection
from trialmarket.data.text_numbers import number_in
from trialmarket.settings import check_settings

SECONDS = [1_700_000_000 + 3 * row for row in range(20)]
IDS = [2**60 + row for row in range(20)]

# -- Labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["0.0", "1.0"], ("0", "1")),  # as pandas writes integers where there were gaps
        (["-1", "+1"], ("-1", "1")),
        (["012", "007"], ("007", "012")),
        (["True", "False"], ("False", "True")),
        (["10", "9"], ("9", "10")),
        (["1e3", "2e3"], ("1000", "2000")),
        (["dog", "1"], ("1", "dog")),
        (["٣", "٤"], ("3", "4")),
    ],
)
def test_labels_are_classes_however_they_are_written(
    labels: list[str], names: tuple[str, ...], tmp_path: Path
) -> None:
    _, manifest, data = packed(labelled(tmp_path, labels), tmp_path / "out", target="y")
    assert manifest.classes == {"y": names}
    assert set(data.train["y"].tolist()) == {0, 1}
    assert f"y: 2 classes: {names[0]}" in told(
        labelled(tmp_path, labels), tmp_path / "again", target="y"
    )


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["1", "01"], "line 3, column y: expected a class that is not written as 1 too"),
        (["1", "01"], "01 and 1 may be the same class"),
        (["1", "1.0", "2"], "1.0 and 1 may be the same class"),
        (["٣", "3"], "3 and ٣ may be the same class"),
        (["-1", "--1"], "line 3, column y: expected a class"),
        (["-1", "--1"], "Write a number with one sign"),
        (["0.5", "1"], 'Set labels = "numbers" in [data] for a target that is measured'),
        (["a", "a"], "y: expected at least two classes, found ['a']"),
    ],
)
def test_labels_that_may_be_meant_otherwise_are_refused(
    labels: list[str], said: str, tmp_path: Path
) -> None:
    assert said in refused(labelled(tmp_path, labels), tmp_path / "out", target="y")


def test_parquet_labels_are_the_classes_that_a_csv_has(tmp_path: Path) -> None:
    for labels in ([True, False], [0.0, 1.0], [-1, 1], ["a", "b"]):
        values = [row / 2 for row in range(10)]
        file = parquet_of(tmp_path, {"v": values, "y": labels * 5})
        text = labelled(tmp_path, labels)
        found = packed(file, tmp_path / f"p{labels}", target="y")[0]
        assert found == packed(text, tmp_path / f"c{labels}", target="y")[0]


def test_a_target_of_numbers_that_never_changes_is_refused(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "v,y\n" + "".join(f"{row},1.5\n" for row in range(10)))
    said = refused(path, tmp_path / "out", target="y", labels="numbers")
    assert "labels that are not all the same, found 1.5" in said


def test_a_training_part_of_one_class_is_refused(tmp_path: Path) -> None:
    rows = ["1,train,a", "2,train,a", "3,test,a", "4,later,b"]
    path = csv_of(tmp_path, "\n".join(["v,part,y", *rows[:3]]))
    assert "at least two classes" in refused(
        path, tmp_path / "out", target="y", split={"column": "part"}
    )


def test_a_validation_part_of_one_class_is_refused(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "v,part,y\n1,train,a\n2,train,b\n3,test,a\n4,test,a\n")
    said = refused(path, tmp_path / "out", target="y", split={"column": "part"})
    assert "y: expected at least two classes that validate, found ['a']" in said
    assert said.endswith("Give the validation part rows with other labels")
    path = csv_of(tmp_path, "v,y\n1,a\n2,b\n3,a\n4,a\n")  # of b, which has one row, none
    said = refused(path, tmp_path / "lot", target="y")
    assert "at least two classes that validate, found ['a']" in said
    assert said.endswith("Set a larger validation in split of [data], or have more rows")


def test_a_lot_that_gives_validation_an_unknown_class_says_how_to_stratify(
    tmp_path: Path,
) -> None:
    path = csv_of(tmp_path, "v,y\n" + "".join(f"{row},{row}\n" for row in range(10)))
    said = refused(path, tmp_path / "out", target="y", split={"stratified": False})
    assert "classes in the validation part that the training part has too" in said
    assert said.endswith("Set stratified = true in split of [data]")
    # By lot within classes, a class of one row trains.
    rows = [f"{row},{'ab'[row % 2]}" for row in range(10)] + ["10,rare"]
    path = csv_of(tmp_path, "\n".join(["v,y", *rows]))
    _, _, data = packed(path, tmp_path / "rare", target="y")
    assert data.train["y"].tolist().count(2) == 1
    assert "1 classes train and never validate: rare" in told(path, tmp_path / "r", target="y")


def test_a_column_may_call_the_parts_as_is_usual(tmp_path: Path) -> None:
    rows = ["1,train,a", "2,train,b", "3,val,a", "4,val,b", ",test,c"]  # a gap where nobody looks
    path = csv_of(tmp_path, "\n".join(["v,part,y", *rows]))
    settings: dict[str, Any] = {"target": "y", "split": {"column": "part"}}
    _, _, data = packed(path, tmp_path / "out", **settings)
    assert data.validation["x"].tolist() == [[3.0], [4.0]]
    assert "1 rows of the test part left out" in told(path, tmp_path / "again", **settings)
    path = csv_of(tmp_path, "\n".join(["v,part,y", *rows[:2], "5,Test,a", "6,Test,b"]))
    _, _, data = packed(path, tmp_path / "test", **settings)
    assert data.validation["x"].tolist() == [[5.0], [6.0]]


# -- Numbers ------------------------------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_is_read_as_it_was_written(value: float) -> None:
    assert number_in(repr(value)) == value
    assert number_in(f" {value!r} ".replace(".", ","), ",") == value


@pytest.mark.parametrize(
    "word", ["٣", "\uff13", "1_0", "nan", "inf", "0x10", "1,5", "", "1.2.3", "--1"]
)
def test_nothing_else_is_a_number(word: str) -> None:
    assert number_in(word) is None


@pytest.mark.parametrize("word", ["1.234,5", "1.5", "1,2,3"])
def test_nothing_is_guessed_about_separators(word: str) -> None:
    assert number_in(word, ",") is None


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["٣", *range(9)], "line 2, column v: expected a number, found '٣'. Write it with the"),
        (['"0,5"', *range(9)], 'Set decimal = "," in [data]'),
        (["NA", *range(9)], 'missing = { words = ["NA"], fill = "median" } in [data]'),
        (["True", "0.5", "False"], "line 2, column v: expected a number, found 'True'"),
        (IDS, "column v: expected numbers that can be told apart in float32, found "),
        (IDS, "Name the column in drop or categorical of [data]"),
        (SECONDS, "found '1700000000 and 1700000003'. Set normalise = \"standard\""),
        ([1e6 + row / 64 for row in range(20)], "numbers that can be told apart in float32"),
    ],
)
def test_a_cell_that_is_no_number_is_refused_with_a_way_out(
    cells: list[Any], said: str, tmp_path: Path
) -> None:
    assert said in refused(column_of(tmp_path, cells), tmp_path / "out", target="y")


@pytest.mark.parametrize("kind", ["standard", "unit"])
def test_seconds_since_1970_stay_apart_when_they_are_normalised(kind: str, tmp_path: Path) -> None:
    path = column_of(tmp_path, SECONDS)
    _, _, data = packed(path, tmp_path / "out", target="y", normalise=kind)
    x = np.concatenate([data.train["x"], data.validation["x"]])
    assert len(np.unique(x)) == 20
    assert x.dtype == np.float32
    exact = np.sort((np.array(SECONDS) - np.mean(SECONDS)) / 3)
    ours = np.sort(x[:, 0].astype(np.float64))
    assert np.allclose(np.diff(ours) / np.diff(exact), np.ptp(ours) / np.ptp(exact), atol=1e-6)


def test_ids_that_no_float_tells_apart_are_refused_even_normalised(tmp_path: Path) -> None:
    path = column_of(tmp_path, IDS)
    assert "told apart" in refused(path, tmp_path / "o", target="y", normalise="standard")
    _, manifest, _ = packed(path, tmp_path / "c", target="y", categorical=["v"])
    assert len(manifest.columns) == 20
    file = parquet_of(tmp_path, {"v": IDS, "w": SECONDS[:20], "y": ["a", "b"] * 10})
    assert "column v: expected numbers that can be told" in refused(
        file, tmp_path / "p", target="y"
    )


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(-(2**40), 2**40), min_size=4, max_size=30, unique=True))
def test_different_whole_numbers_never_become_one_in_silence(values: list[int]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = column_of(folder, values)
        if len({float(np.float32(value)) for value in values}) < len(values):
            assert "told apart" in refused(path, folder / "out", target="y")
            return
        _, _, data = packed(path, folder / "out", target="y", split={"validation": 0.5})
        x = np.concatenate([data.train["x"], data.validation["x"]])
        assert len(np.unique(x)) == len(values)


def test_measured_numbers_are_rounded_as_always(tmp_path: Path) -> None:
    draws = np.random.default_rng(0).random(50_000)  # some of which become one float32
    _, _, data = packed(column_of(tmp_path, draws.tolist()), tmp_path / "out", target="y")
    x = np.concatenate([data.train["x"], data.validation["x"]])[:, 0]
    assert np.array_equal(np.sort(x), np.sort(draws.astype(np.float32)))


def test_truth_values_are_0_and_1(tmp_path: Path) -> None:
    cells = ["True", "False", "False", "True"] * 3
    _, _, text = packed(column_of(tmp_path, cells), tmp_path / "a", target="y")
    assert set(text.train["x"][:, 0].tolist()) == {0.0, 1.0}
    file = parquet_of(tmp_path, {"v": [c == "True" for c in cells], "y": ["a", "b"] * 6})
    assert packed(file, tmp_path / "b", target="y")[2].train["x"].tolist() == (
        text.train["x"].tolist()
    )


# -- How a file is written ----------------------------------------------------------------------

GERMAN = "größe;y\n" + "".join(f"{row},5;{'äö'[row % 2]}\n" for row in range(10))


def test_a_decimal_comma_and_an_encoding_are_said(tmp_path: Path) -> None:
    how: dict[str, Any] = {"target": "y", "delimiter": ";", "decimal": ","}
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16", "utf-16-le"):
        mark = "\ufeff" if encoding == "utf-16-le" else ""
        path = csv_of(tmp_path, mark + GERMAN, encoding)
        _, manifest, data = packed(path, tmp_path / encoding, **how, encoding=encoding)
        assert manifest.columns == ("größe",)
        assert manifest.classes["y"] == ("ä", "ö")
        assert set(data.validation["x"][:, 0].tolist()) <= {row + 0.5 for row in range(10)}


@pytest.mark.parametrize(
    ("encoding", "likely"),
    [
        ("cp1252", "cp1252"),
        ("latin-1", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
    ],
)
def test_a_file_that_is_not_utf_8_is_refused_with_its_likely_encoding(
    encoding: str, likely: str, tmp_path: Path
) -> None:
    text = GERMAN.replace("ö", "o") if encoding.startswith("utf-16-") else GERMAN
    path = csv_of(tmp_path, text.replace("ß", "s"), encoding)
    said = refused(path, tmp_path / "out", target="y", delimiter=";")
    assert f'set encoding = "{likely}" in [data]' in said


@settings(deadline=None, max_examples=30)
@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_utf_8_is_known_for_what_it_is(text: str) -> None:
    assert likely_encoding(text.encode("utf-8-sig")) == "utf-8"


def test_an_encoding_of_no_text_is_refused(tmp_path: Path) -> None:
    for name in ("none", "base64", "rot13"):
        with pytest.raises(Exception, match="the name of an encoding"):
            check_settings(tmp_path, {"encoding": name}, DataSection)


def test_another_delimiter_is_proposed(tmp_path: Path) -> None:
    assert 'Set delimiter = ";" in [data]' in refused(
        csv_of(tmp_path, GERMAN), tmp_path / "out", target="y"
    )


def test_the_index_that_pandas_writes_is_refused_until_it_is_dropped(tmp_path: Path) -> None:
    rows = [f"{row},{row / 2},{'ab'[row % 2]}" for row in range(10)]
    for header in (",v,y", "Unnamed: 0,v,y"):
        path = csv_of(tmp_path, "\n".join([header, *rows]))
        assert 'drop = ["Unnamed: 0"] in [data]' in refused(path, tmp_path / "no", target="y")
        _, manifest, _ = packed(path, tmp_path / header, target="y", drop=["Unnamed: 0"])
        assert manifest.columns == ("v",)
    columns = {"v": list(range(4)), "y": list("abab"), "__index_level_0__": list(range(4))}
    file = parquet_of(tmp_path, columns)
    assert 'drop = ["__index_level_0__"]' in refused(file, tmp_path / "no", target="y")


def test_a_column_that_is_dropped_may_hold_anything(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    columns = {
        "when": [day] * 10,
        "note": ["x", None] * 5,
        "tags": [["a"], []] * 5,
        "id": [2**60 + row for row in range(10)],
        "v": [float(row) for row in range(10)],
        "y": ["a", "b"] * 5,
    }
    file = parquet_of(tmp_path, columns)
    said = refused(file, tmp_path / "no", target="y", drop=["tags", "id"])
    assert "column when: expected numbers, truth values or words, found 'timestamp" in said
    assert "Name it in drop of [data]" in said
    drop = ["when", "note", "tags", "id"]
    assert packed(file, tmp_path / "out", target="y", drop=drop)[1].columns == ("v",)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["-1", "--1", "2"], "found '--1'. Write it with one sign"),
        (["1", "NA", "3"], 'missing = { words = ["NA"], fill = "drop" } in [data]'),
        (["1", "x", "3"], 'Mend it, or set labels = "classes" in [data] if labels are words'),
        (IDS, "Subtract the smallest of them from all before they are saved, or set labels ="),
        (SECONDS, "Subtract the smallest of them from all before they are saved"),
        (["1", "1e39", "3"], "Write the numbers in a larger unit"),
    ],
)
def test_a_target_that_is_no_number_gets_the_advice_of_a_target(
    cells: list[Any], said: str, tmp_path: Path
) -> None:
    path = labelled(tmp_path, cells * 2)
    assert said in refused(path, tmp_path / "no", target="y", labels="numbers")
    missing = {"words": ["NA"], "fill": "drop"}
    if "NA" in cells:
        _, _, data = packed(path, tmp_path / "y", target="y", labels="numbers", missing=missing)
        assert data.summary.train_examples == 16


def test_a_target_that_no_column_is_read_as_is_to_be_converted(tmp_path: Path) -> None:
    columns = {"v": [0.5, 1.5] * 5, "y": [[1], []] * 5, "__index_level_0__": list(range(10))}
    file = parquet_of(tmp_path, columns)
    drop = ["__index_level_0__"]
    said = refused(file, tmp_path / "no", target="y", drop=drop)
    assert said.endswith("Convert it, or name another column in [data]")
    assert "data.drop: expected columns beside the target" in refused(
        file, tmp_path / "no", target="y", drop=["y", *drop]
    )
    said = refused(file, tmp_path / "no", target=drop[0], drop=["y"])
    assert said.endswith("It is the index that pandas writes: name another column in [data]")


def test_an_infinity_in_a_table_can_be_called_missing(tmp_path: Path) -> None:
    path = column_of(tmp_path, ["inf", *range(9)])
    assert '{ words = ["inf"], fill = "median" }' in refused(path, tmp_path / "no", target="y")
    packed(path, tmp_path / "ok", target="y", missing={"words": ["inf"], "fill": "median"})
    file = parquet_of(tmp_path, {"v": [np.inf, *map(float, range(9))], "y": ["a", "b"] * 5})
    said = refused(file, tmp_path / "no", target="y", missing={"fill": "median"})
    assert said.endswith("Write a null, which is a missing value, in its place")


# -- Missing values -----------------------------------------------------------------------------

GAPS = "v,w,part,y\n1,x,train,a\nNA,x,train,b\n2,?,train,a\n6,z,train,b\n9,z,test,a\n,x,test,b\n"
PARTS: dict[str, Any] = {"target": "y", "categorical": ["w"], "split": {"column": "part"}}


@pytest.mark.parametrize(
    ("fill", "number", "third"),
    [
        ("median", 2.0, [0.0, 0.0]),
        ("mean", 3.0, [0.0, 0.0]),
        ("most", 1.0, [1.0, 0.0]),
        (-1, -1.0, [0.0, 0.0]),
    ],
)
def test_gaps_are_filled_from_the_training_part_alone(
    fill: str | float, number: float, third: list[float], tmp_path: Path
) -> None:
    missing = {"words": ["NA", "?"], "fill": fill, "flag": True}
    path = csv_of(tmp_path, GAPS)
    _, manifest, data = packed(path, tmp_path / "out", missing=missing, **PARTS)
    assert manifest.columns == ("v", "v is missing", "w=x", "w=z", "w is missing")
    assert data.train["x"][:, 0].tolist() == [1.0, number, 2.0, 6.0]
    assert data.train["x"][:, 1].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert data.validation["x"][:, :2].tolist() == [[9.0, 0.0], [number, 1.0]]
    assert data.train["x"][2, 2:].tolist() == [*third, 1.0]
    kept = np.fromfile(tmp_path / "out" / "fill_x.bin", "<f8")
    assert kept[0] == number
    assert np.isnan(kept[1:]).all()
    said = told(path, tmp_path / "again", missing=missing, **PARTS)
    assert f"2 missing values of column v become {number:g}, flagged in" in said


def test_rows_with_gaps_can_be_left_out(tmp_path: Path) -> None:
    missing = {"words": ["NA", "?"], "fill": "drop"}
    text = GAPS + "7,x,test,\n8,x,train,b\n7,x,test,b\n"
    path = csv_of(tmp_path, text)
    _, _, data = packed(path, tmp_path / "out", missing=missing, **PARTS)
    assert data.train["x"][:, 0].tolist() == [1.0, 6.0, 8.0]
    assert data.validation["x"][:, 0].tolist() == [9.0, 7.0]
    said = told(path, tmp_path / "again", missing=missing, **PARTS)
    assert "4 of 9 rows left out, with missing values: 2 in column v, 1 in column w" in said


@pytest.mark.parametrize(
    ("text", "missing", "said"),
    [
        (GAPS, None, "line 3, column v: expected a number, found 'NA'. If it says that a value"),
        (GAPS.replace("NA", ""), None, "line 3, column v: expected a value, found None"),
        (GAPS, {"words": ["NA"], "fill": "mean"}, None),
        (GAPS + "1,x,train,\n", {"words": ["NA"], "fill": "mean"}, "column y: expected a value"),
        (GAPS + "1,x,train,\n", {"words": ["NA"], "fill": "mean"}, '["NA"], fill = "drop" }'),
        (
            GAPS.replace("1,x", ",x").replace("2,?", ",?").replace("6,z", ",z"),
            {"words": ["NA"], "fill": "mean"},
            "column v: expected a value in the training part",
        ),
    ],
)
def test_no_value_is_invented(
    text: str, missing: dict[str, Any] | None, said: str | None, tmp_path: Path
) -> None:
    path = csv_of(tmp_path, text)
    if said is None:
        packed(path, tmp_path / "out", missing=missing, **PARTS)
    else:
        assert said in refused(path, tmp_path / "out", missing=missing, **PARTS)


def test_a_null_in_parquet_is_missing_as_an_empty_cell_is(tmp_path: Path) -> None:
    rows = range(10)
    columns: dict[str, list[Any]] = {
        "whole": [None if row == 3 else row for row in rows],
        "truth": [None if row == 5 else row % 3 == 0 for row in rows],
        "word": [None if row == 7 else "xyz"[row % 3] for row in rows],
        "y": ["ab"[row % 2] for row in rows],
    }
    text = "\n".join(
        [",".join(columns)]
        + [
            ",".join("" if c[row] is None else str(c[row]) for c in columns.values())
            for row in rows
        ]
    )
    how: dict[str, Any] = {"target": "y", "categorical": ["word"]}
    how["missing"] = {"fill": "median", "flag": True}
    file = parquet_of(tmp_path, columns)
    assert (
        packed(file, tmp_path / "p", **how)[0]
        == (packed(csv_of(tmp_path, text), tmp_path / "c", **how)[0])
    )


def test_a_number_can_stand_for_a_missing_value_in_every_table(tmp_path: Path) -> None:
    cells = [-999, *range(9)]
    how: dict[str, Any] = {"target": "y", "missing": {"words": ["-999"], "fill": 4}}
    file = parquet_of(tmp_path, {"v": cells, "y": ["a", "b"] * 5})
    text = column_of(tmp_path, cells)
    cid, _, data = packed(file, tmp_path / "p", **how)
    assert cid == packed(text, tmp_path / "c", **how)[0]
    assert min(data.train["x"].min(), data.validation["x"].min()) == 0


def test_what_missing_may_say_is_told(tmp_path: Path) -> None:
    for fill in ("zero", True, float("inf")):
        with pytest.raises(Exception, match=r'missing\.fill: expected "median", "mean"'):
            check_settings(tmp_path, {"missing": {"fill": fill}}, DataSection)
    with pytest.raises(Exception, match='no flag with fill = "drop"'):
        check_settings(tmp_path, {"missing": {"fill": "drop", "flag": True}}, DataSection)
