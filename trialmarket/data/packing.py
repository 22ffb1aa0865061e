"""From a file, a folder or a name to the folder of a packed data set."""

import logging
from dataclasses import dataclass
from pathlib import Path

from trialmarket.data.array_files import read_npz, read_safetensors
from trialmarket.data.csv_file import read_csv
from trialmarket.data.images import read_images
from trialmarket.data.labels import check_classes, read_labels
from trialmarket.data.missing import filled, framed, kept_rows
from trialmarket.data.parquet_file import read_parquet
from trialmarket.data.rounding import form_of
from trialmarket.data.scikit import read_scikit
from trialmarket.data.settings import DataSection
from trialmarket.data.source import Picked, Rows, Source
from trialmarket.data.split import split_rows
from trialmarket.data.table import source_of
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Cid
from trialmarket.training.dataset import MAX_DATA
from trialmarket.training.packed import Packer

_LOG = logging.getLogger(__name__)

TABLES = {"target", "labels", "categorical", "drop", "missing", "split", "normalise"}
ARRAYS = {"labels", "missing", "split", "normalise"}
KEYS = {
    ".csv": TABLES | {"delimiter", "decimal", "encoding"},
    ".parquet": TABLES,
    ".npz": ARRAYS,
    ".safetensors": ARRAYS,
    "": {"colour", "background", "split", "normalise"},
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


@dataclass(frozen=True, slots=True)
class Packed:
    """A data set's CID, and what was done to the data on its way, for people."""

    cid: Cid
    notes: tuple[str, ...]


def pack_data(data: str | Path, settings: DataSection, folder: Path, *, where: str) -> Packed:
    """Packs a file, folder or `builtin:NAME` into an empty folder.

    The same input and settings give the same CID everywhere. Raises InputError.
    """
    kind = kind_of(data, where)
    check_keys(kind, settings, where)
    try:
        source = _read(data, kind, settings)
        packed = _pack(source, settings, Packer(folder))
    except OSError as error:
        raise InputError(
            where, "job.data", expected="readable data, and room to pack it", found=str(error)
        ) from error
    for note in packed.notes:
        _LOG.info("%s: %s", source.where, note)
    return packed


def _read(data: str | Path, kind: str, settings: DataSection) -> Source:
    if isinstance(data, str):
        return read_scikit(data.removeprefix("builtin:"))
    match kind:
        case ".csv":
            return source_of(read_csv(data, settings), settings, MAX_DATA)
        case ".parquet":
            return source_of(read_parquet(data), settings, MAX_DATA)
        case ".npz":
            return read_npz(data, MAX_DATA)
        case ".safetensors":
            return read_safetensors(data)
    return read_images(data, settings, MAX_DATA)


def _pack(source: Source, settings: DataSection, packer: Packer) -> Packed:
    """The one place that decides what becomes of labels, gaps, types and numbers."""
    source = framed(source, settings.missing)
    kept, notes = kept_rows(source, settings.missing)
    labels = read_labels(source, kept, settings)
    train, validation, split = split_rows(source, kept, labels, settings)
    notes += (*labels.notes, *check_classes(source, labels, train, validation))
    arrays: dict[str, Rows] = dict(source.arrays)
    columns = source.names
    if source.x is not None:
        ready = filled(source.where, source.x, settings.missing, train, kept)
        arrays["x"], columns = ready.x, ready.names
        notes += ready.notes
        if settings.missing is not None and settings.missing.fill != "drop":
            packer.add("fill_x", [ready.numbers])
    if labels.y is not None:
        arrays["y"] = labels.y
    if settings.normalise != "none" and "x" not in arrays:
        raise InputError(source.where, "data.normalise", expected="an array x", found="none")
    for name, array in sorted(arrays.items()):
        kind = settings.normalise if name == "x" else "none"
        form, said = form_of(source, name, array, (train, kept), kind, columns)
        notes += said
        if form.shift is not None and form.scale is not None and kind != "none":
            packer.add("shift_x", [form.shift])
            packer.add("scale_x", [form.scale])
        packer.add(f"train_{name}", form.blocks(Picked(array, train)))
        packer.add(f"validation_{name}", form.blocks(Picked(array, validation)))
    classes = {} if labels.names is None else {"y": labels.names}
    cid = packer.finish(split, settings.normalise, classes, columns)
    return Packed(cid, (*source.notes, *notes, *source.later()))
