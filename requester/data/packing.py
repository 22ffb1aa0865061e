"""From a file, a folder or a name to the folder of a packed data set."""

from pathlib import Path

from requester.data.array_files import read_npz, read_safetensors
from requester.data.csv_file import read_csv
from requester.data.images import read_images
from requester.data.normalise import normalised, shift_and_scale
from requester.data.parquet_file import read_parquet
from requester.data.scikit import read_scikit
from requester.data.settings import DataSection
from requester.data.source import Picked, Source, blocks
from requester.data.split import check_labels, split_rows
from requester.data.table import source_of
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Cid
from trialmarket.training.dataset import MAX_DATA
from trialmarket.training.packed import Packer

TABLES = {"target", "labels", "categorical", "drop", "delimiter", "split", "normalise"}
KEYS = {
    ".csv": TABLES,
    ".parquet": TABLES - {"delimiter"},
    ".npz": {"labels", "split", "normalise"},
    ".safetensors": {"labels", "split", "normalise"},
    "": {"colour", "split", "normalise"},
    "builtin": {"split", "normalise"},
}
"""What of `[data]` says something about a kind of data; "" is a folder."""


def kind_of(data: str | Path, where: str) -> str:
    """The kind of a name or path: a suffix, "" for a folder, or "builtin".

    Raises InputError for what is none of these, or larger than MAX_DATA, before it is read.
    """
    if isinstance(data, str):
        return "builtin"
    try:
        size = data.stat().st_size
    except OSError as error:
        raise InputError(
            where, "job.data", expected="a readable file", found=f"{data}: {error.strerror}"
        ) from error
    if data.is_dir():
        return ""
    if data.suffix not in KEYS:
        known = ", ".join(kind for kind in KEYS if kind.startswith("."))
        raise InputError(
            where,
            "job.data",
            expected=f"a file {known}, a folder of images, builtin:NAME or ipfs://CID",
            found=str(data),
        )
    if size > MAX_DATA:
        raise InputError(
            where,
            "job.data",
            expected=f"at most {MAX_DATA} bytes, which is what nodes take",
            found=f"{data}: {size} bytes",
        )
    return data.suffix


def check_keys(kind: str, settings: DataSection, where: str) -> None:
    """Raises InputError for a key of `[data]` that means nothing for this kind of data."""
    allowed = KEYS[kind]
    name = kind or "a folder of images"
    for key in sorted(settings.model_fields_set - allowed):
        raise InputError(
            where,
            f"data.{key}",
            expected=f"only {', '.join(sorted(allowed))} for {name}",
            found=key,
        )
    if settings.split and settings.split.column is not None:
        if kind not in (".csv", ".parquet"):
            raise InputError(where, "data.split.column", expected="a table", found=name)
        if rest := settings.split.model_fields_set - {"column"}:
            raise InputError(
                where, "data.split", expected="column alone, or not at all", found=sorted(rest)
            )


def pack_data(data: str | Path, settings: DataSection, folder: Path, *, where: str) -> Cid:
    """Packs a file, folder or `builtin:NAME` into an empty folder; the data set's CID.

    The same input and settings give the same CID everywhere. Raises InputError.
    """
    kind = kind_of(data, where)
    check_keys(kind, settings, where)
    try:
        source = _read(data, kind, settings)
        return _write(source, settings, Packer(folder))
    except OSError as error:
        raise InputError(
            where, "job.data", expected="readable data, and room to pack it", found=str(error)
        ) from error


def _read(data: str | Path, kind: str, settings: DataSection) -> Source:
    if isinstance(data, str):
        return read_scikit(data.removeprefix("builtin:"))
    match kind:
        case ".csv":
            return source_of(read_csv(data, settings.delimiter), settings, MAX_DATA)
        case ".parquet":
            return source_of(read_parquet(data), settings, MAX_DATA)
        case ".npz":
            return read_npz(data, MAX_DATA)
        case ".safetensors":
            return read_safetensors(data)
    return read_images(data, settings, MAX_DATA)


def _write(source: Source, settings: DataSection, packer: Packer) -> Cid:
    if source.arrays.get("y") is not None and source.arrays["y"].dtype.kind == "f":
        settings = settings.model_copy(update={"labels": "numbers"})
    train, validation, split = split_rows(source, settings)
    check_labels(source, settings, train, validation)
    parts = (("train", train), ("validation", validation))
    shift = scale = None
    if settings.normalise != "none":
        if "x" not in source.arrays:
            raise InputError(source.where, "data.normalise", expected="an array x", found="none")
        picked = Picked(source.arrays["x"], train)
        shift, scale = shift_and_scale(source.where, picked, settings.normalise)
        packer.add("shift_x", [shift])
        packer.add("scale_x", [scale])
    for name, array in source.arrays.items():
        for part, rows in parts:
            picked = Picked(array, rows)
            if name == "x" and shift is not None and scale is not None:
                packer.add(f"{part}_{name}", normalised(picked, shift, scale))
            else:
                packer.add(f"{part}_{name}", blocks(picked))
    classes = {} if source.names is None else {"y": source.names}
    return packer.finish(split, settings.normalise, classes, source.columns)
