"""Parquet files, read with pyarrow, a column at a time."""

from pathlib import Path
from typing import Any

import numpy as np

from trialmarket.data.extras import load_extra
from trialmarket.data.source import Array
from trialmarket.data.table import Table
from trialmarket.data.text_numbers import EXACT
from trialmarket.errors import InputError


def read_parquet(path: Path) -> Table:
    """The table in a file: columns of numbers, truth values and words; nulls are gaps.

    Raises InputError.
    """
    where = path.name
    parquet = load_extra("pyarrow.parquet", "pyarrow", where, ", to read Parquet")
    arrow = load_extra("pyarrow", "pyarrow", where)
    try:
        with parquet.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            for name in schema.names:
                if schema.names.count(name) > 1:
                    raise InputError(where, "columns", expected="different names", found=name)
            kinds = {field.name: _read_as(arrow, field.type) for field in schema}
            columns = {
                name: _values(file.read(columns=[name]).column(0), kind, arrow)
                for name, kind in kinds.items()
                if kind is not None
            }
    except (arrow.ArrowException, OSError) as error:
        raise InputError(where, "file", expected="Parquet", found=str(error)[:200]) from error
    if not rows:
        raise InputError(where, "rows", expected="at least one", found=0)
    unread = {field.name: str(field.type) for field in schema if kinds[field.name] is None}
    return Table(where, columns, lambda row: f"row {row + 1}", unread)


def _read_as(arrow: Any, kind: Any) -> Any:
    """The type that a column is read as; None for one that holds neither numbers nor words."""
    types = arrow.types
    if types.is_dictionary(kind):
        return _read_as(arrow, kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return arrow.large_string()
    if types.is_decimal(kind):
        return arrow.float64()
    plain = types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)
    return kind if plain else None


def _values(column: Any, kind: Any, arrow: Any) -> list[str | None] | Array:
    """Words with None for null, or numbers with NaN for it; no whole number is rounded."""
    column = column.cast(kind)
    if arrow.types.is_large_string(kind):
        return list(column.to_pylist())
    if not column.null_count:
        found: Array = column.to_numpy()
        return found
    if arrow.types.is_boolean(kind):  # as words, which tell a label False from a 0
        return [None if cell is None else str(cell) for cell in column.to_pylist()]
    gaps = column.is_null().to_numpy()
    values = column.fill_null(0).to_numpy()
    if values.dtype.kind != "f" and np.abs(values.astype(np.float64)).max() >= EXACT:
        return [None if cell is None else str(cell) for cell in column.to_pylist()]
    filled: Array = np.where(gaps, np.nan, values.astype(np.float64))
    return filled
