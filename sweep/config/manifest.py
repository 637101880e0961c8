"""Manifests: frames of a job listed in a CSV or Parquet file."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweep.config.csv_file import RowError, parse_csv, parse_number
from workers.files import describe, read_bytes
from workers.reasons import reason_of

MANIFESTS = (".csv", ".parquet")
"""Files with these suffixes are no frames, but lists of them."""

COLUMNS = pa.schema(
    [
        ("frame", pa.string()),
        ("encoder", pa.string()),
        ("lmbda", pa.float64()),
        ("frame_index", pa.int64()),
        ("encoder_frame", pa.int64()),
    ]
)
"""What a manifest says of a frame; all but its path may be left out."""

ManifestRow = tuple[str, str | None, float | None, int | None, int | None]
"""A value for each of :data:`COLUMNS`."""

_INDICES = ("frame_index", "encoder_frame")
_NUMBERS = {
    "lmbda": "lmbda is a number, 0 or more",
    **{name: f"{name} is an integer, 0 or more" for name in _INDICES},
}
_PATIENCE_SECONDS = 5.0  # for a manifest behind a URI: nothing has begun yet
_INDEX = re.compile(r"__index_level_\d+__")  # pandas keeps the index of a selection in a column of this name


def read_manifest(location: str) -> dict[int, ManifestRow]:
    """What each row of a manifest says, by the row's number, the header not counted.

    Args:
        location: path or URI of a CSV or Parquet file with the columns ``frame`` and, if wanted, ``encoder``,
            ``lmbda``, ``frame_index`` and ``encoder_frame``; an empty cell is no encoder, the encoder's own lmbda,
            or the only frame of a file. CSV may be as spreadsheets write it: see
            :func:`~sweep.config.csv_file.parse_csv`.

    Raises:
        ValueError: it cannot be read, a column is missing, unknown, there twice or of another type, a row has no
            frame, or a number that is none, two rows are the same, or there are none.
    """
    name = describe(location)
    try:
        content = read_bytes(location, _PATIENCE_SECONDS)
    except OSError as error:
        raise ValueError(f"the manifest {name} cannot be read: {reason_of(error)}") from None
    try:
        rows = _csv_rows(content) if name.lower().endswith(".csv") else _parquet_rows(content)
        _check(rows)
    except RowError as error:
        raise ValueError(f"the manifest {name}, row {error.row}: {error}") from None
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"the manifest {name}: {reason_of(error)}") from None
    if not rows:
        raise ValueError(f"the manifest {name} has no rows")
    return rows


def _check(rows: Mapping[int, ManifestRow]) -> None:
    """Raise ``RowError`` for the first row that is wrong."""
    first: dict[ManifestRow, int] = {}
    for number, row in rows.items():
        frame, _, lmbda, *indices = row
        if not frame:
            raise RowError(number, "there is no frame")
        if lmbda is not None and not (math.isfinite(lmbda) and lmbda >= 0):
            raise RowError(number, f"{_NUMBERS['lmbda']}; found {lmbda}")
        for name, index in zip(_INDICES, indices, strict=True):
            if index is not None and index < 0:
                raise RowError(number, f"{_NUMBERS[name]}; found {index}")
        if row in first:
            raise RowError(number, f"the same as row {first[row]}")
        first[row] = number


def _csv_rows(content: bytes) -> dict[int, ManifestRow]:
    """Rows by their numbers; empty ones are left out."""
    header, rows, delimiter = parse_csv(content, COLUMNS.names)
    places = _places(header)
    numbers = [number for number, row in enumerate(rows, start=1) if row]
    columns: dict[str, list[Any]] = {}
    for name in COLUMNS.names:
        cells = [rows[number - 1][places[name]] if name in places else "" for number in numbers]
        if name in _NUMBERS:
            columns[name] = _parsed(name, cells, numbers, delimiter)
        else:
            columns[name] = [cell or None for cell in cells]
    return _rows(columns, numbers)


def _parquet_rows(content: bytes) -> dict[int, ManifestRow]:
    table = pq.ParquetFile(pa.BufferReader(content)).read()
    kept = [index for index, name in enumerate(table.column_names) if not _INDEX.fullmatch(name)]
    table = table.select(kept)
    places = _places(table.column_names)
    numbers = list(range(1, table.num_rows + 1))
    columns: dict[str, list[Any]] = {}
    for name in COLUMNS.names:
        column = pa.nulls(table.num_rows) if name not in places else table.column(places[name])
        columns[name] = _numbers_in(column, name, numbers) if name in _NUMBERS else _texts_in(column, name)
    return _rows(columns, numbers)


def _rows(columns: dict[str, list[Any]], numbers: Sequence[int]) -> dict[int, ManifestRow]:
    for name in _INDICES:
        columns[name] = [_whole(name, value, number) for value, number in zip(columns[name], numbers, strict=True)]
    return dict(zip(numbers, zip(*columns.values(), strict=True), strict=True))


def _whole(name: str, value: float | None, number: int) -> int | None:
    if value is not None and not value.is_integer():  # nor is one that is not finite
        raise RowError(number, f"{_NUMBERS[name]}; found {value:g}")
    return None if value is None else int(value)


def _places(header: Sequence[str]) -> dict[str, int]:
    """Where each column is, whatever capitals its name is written in."""
    names = [name.strip().lower() for name in header]
    if unknown := [name for name, known in zip(header, names, strict=True) if known not in COLUMNS.names]:
        raise ValueError(f"its columns are {', '.join(COLUMNS.names)}; found {', '.join(map(repr, unknown))}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"a column stands once; found {', '.join(header)}, with {', '.join(twice)} more than once")
    if "frame" not in names:
        raise ValueError(f"it has a column frame; found {', '.join(header) or 'none'}")
    return {name: index for index, name in enumerate(names)}


def _texts_in(column: pa.ChunkedArray, name: str) -> list[str | None]:
    """Cells of a Parquet column of text; blank ones are none, as in CSV."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (_is_text(kind) or pa.types.is_null(kind)):
        raise ValueError(f"the column {name} holds text; found {column.type}")
    return [cell if cell and cell.strip() else None for cell in column.to_pylist()]


def _numbers_in(column: pa.ChunkedArray, name: str, numbers: Sequence[int]) -> list[float | None]:
    """Cells of a Parquet column of numbers; those of few bits as the shortest decimal that they are nearest to."""
    types = pa.types
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    cells = column.to_pylist()
    if _is_text(kind):
        return _parsed(name, [cell or "" for cell in cells], numbers)
    if types.is_float16(kind) or types.is_float32(kind):
        narrow = np.float16 if types.is_float16(kind) else np.float32
        return [None if cell is None else float(str(narrow(cell))) for cell in cells]
    if not any(test(kind) for test in (types.is_null, types.is_integer, types.is_floating, types.is_decimal)):
        raise ValueError(f"the column {name} holds numbers; found {column.type}")
    return [None if cell is None else float(cell) for cell in cells]


def _parsed(name: str, cells: Sequence[str], numbers: Sequence[int], delimiter: str = "") -> list[float | None]:
    found: list[float | None] = []
    for cell, number in zip(cells, numbers, strict=True):
        try:
            found.append(parse_number(cell.strip(), delimiter) if cell.strip() else None)
        except ValueError as error:
            raise RowError(number, f"{_NUMBERS[name]}; {error}") from None
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
