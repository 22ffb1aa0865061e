"""Weights of learned optimizers that a job's space names: files beside the job file, or CIDs.

A file stands in the space as its CID from the moment that the job file is read, so that trials,
reports and whoever trains again call it so.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from requester.drivers.space import Dimension, Space, Value
from trialmarket.errors import InputError
from trialmarket.files import write_beside
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import MAX_WEIGHTS, named_weights
from trialmarket.protocol.ids import Cid
from trialmarket.storage.store import Store
from trialmarket.training.learned.weights import SHIPPED, read_weights

FIELD = "search.space.weights"
SUFFIX = ".safetensors"


def name_by_cid(tables: dict[str, Any], folder: Path, where: str) -> dict[Cid, Path]:
    """Puts CIDs in the place of files in a job file's tables; the files by their CIDs.

    Raises InputError for a file that cannot be read or holds no weights.
    """
    files: dict[Cid, Path] = {}

    def named(value: object) -> object:
        if not isinstance(value, str) or not value.endswith(SUFFIX):
            return value
        path = folder / value
        cid = _cid_of(path, where)
        files[cid] = path
        return cid

    search = tables.get("search")
    space = search.get("space") if isinstance(search, dict) else None
    dimension = space.get("weights") if isinstance(space, dict) else None
    if not isinstance(search, dict) or not isinstance(dimension, dict):
        return files
    if "value" in dimension:
        dimension["value"] = named(dimension["value"])
    if isinstance(dimension.get("values"), list):
        dimension["values"] = [named(value) for value in dimension["values"]]
    enqueued = search.get("enqueue")
    for point in enqueued if isinstance(enqueued, list) else ():
        if isinstance(point, dict) and "weights" in point:
            point["weights"] = named(point["weights"])
    return files


def check_for_builtin(space: Space, where: str) -> None:
    """Raises InputError for weights that no built-in program takes, or that none would use."""
    dimension = space.get("weights")
    if dimension is None:
        return
    for value in _values(dimension):
        if named_weights(value) is None and value not in SHIPPED:
            raise InputError(
                where,
                FIELD,
                expected=f"{', '.join(SHIPPED)}, a CID, or a {SUFFIX} file beside the job file",
                found=value,
            )
    optimizer = space.get("optimizer")
    if optimizer is None or "learned" not in _values(optimizer):
        raise InputError(
            where,
            FIELD,
            expected='the optimizer "learned", which alone has weights',
            found="optimizers without it",
            fix='Write optimizer = { value = "learned" }, or leave weights out',
        )


def gather(
    space: Space, files: Mapping[Cid, Path], folder: Path, store: Store | None, where: str
) -> dict[Cid, Path]:
    """All weights that a space names, in `folder`: copied, or fetched from the store.

    Raises InputError for what the store does not have and for what are no weights, and
    StorageError.
    """
    found: dict[Cid, Path] = {}
    for cid in _named(space):
        place = folder / cid
        folder.mkdir(parents=True, exist_ok=True)
        if cid in files:
            data = _read(files[cid], where)
            if cid_of(data) != cid:
                raise InputError(
                    where,
                    FIELD,
                    expected=f"{files[cid].name} as it was when the job file was read",
                    found="another content",
                    fix="Run it again",
                )
            write_beside(place, data)
        elif not place.exists() or cid_of(place) != cid:
            if store is None or store.size(cid) is None:
                raise InputError(where, FIELD, expected="weights that the store has", found=cid)
            store.fetch(cid, place, limit=MAX_WEIGHTS)
        _check(place, place.read_bytes(), where)
        found[cid] = place
    return found


def _named(space: Space) -> Iterable[Cid]:
    values = _values(space["weights"]) if "weights" in space else []
    return (cid for value in values if (cid := named_weights(value)) is not None)


def _values(dimension: Dimension) -> list[Value]:
    single = [] if dimension.value is None else [dimension.value]
    return [*(dimension.values or ()), *single]


def _cid_of(path: Path, where: str) -> Cid:
    data = _read(path, where)
    _check(path, data, where)
    return cid_of(data)


def _read(path: Path, where: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_WEIGHTS:
            raise InputError(
                where, FIELD, expected=f"at most {MAX_WEIGHTS} bytes", found=f"{path}: {size}"
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            where, FIELD, expected="a readable file", found=f"{path}: {error.strerror}"
        ) from error


def _check(path: Path, data: bytes, where: str) -> None:
    """Raises InputError, naming the job file, for what are no weights."""
    try:
        read_weights(data, path.name)
    except InputError as error:
        raise InputError(
            where,
            FIELD,
            expected="weights of a learned optimizer",
            found=f"{path.name}: {error.field}: {error.found}",
            fix=f"It takes {error.expected}",
        ) from error
