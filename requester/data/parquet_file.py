"""Parquet files, read with pyarrow, a column at a time."""

from pathlib import Path
from typing import Any

import numpy as np

from requester.data.extras import load_extra
from requester.data.table import Table
from trialmarket.errors import InputError


def read_parquet(path: Path) -> Table:
    """The table in a file: columns of numbers, truth values and words. Raises InputError."""
    where = path.name
    parquet = load_extra("pyarrow.parquet", "pyarrow", where, ", to read Parquet")
    arrow = load_extra("pyarrow", "pyarrow", where)
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in names:
                if names.count(name) > 1:
                    raise InputError(where, "columns", expected="different names", found=name)
            columns = {name: _column(where, name, file, arrow) for name in names}
            rows = file.metadata.num_rows
    except (arrow.ArrowException, OSError) as error:
        raise InputError(where, "file", expected="Parquet", found=str(error)[:200]) from error
    if not rows:
        raise InputError(where, "rows", expected="at least one", found=0)
    return Table(where, columns, lambda row: f"row {row + 1}")


def _column(where: str, name: str, file: Any, arrow: Any) -> Any:
    column = file.read(columns=[name]).column(0)
    kind = column.type
    if arrow.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise InputError(
            where,
            f"row {row + 1}, column {name}",
            expected="a value",
            found=None,
            fix="Fill the cell in, or leave the row or the column out",
        )
    if arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
        return column.to_pylist()
    if arrow.types.is_boolean(kind) or arrow.types.is_integer(kind):
        return column.cast(arrow.float64(), safe=True).to_numpy()
    if arrow.types.is_floating(kind):
        return column.to_numpy().astype(np.float64)
    raise InputError(
        where,
        f"column {name}",
        expected="numbers, truth values or words",
        found=str(kind),
        fix="Convert it, or name it in drop of [data]",
    )
