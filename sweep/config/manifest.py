"""Manifests: frames of a job listed in a CSV or Parquet file."""

import math

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from workers.files import describe, read_bytes, reason_of

MANIFESTS = (".csv", ".parquet")
"""Files with these suffixes are no frames, but lists of them."""

COLUMNS = pa.schema(
    [("frame", pa.string()), ("encoder", pa.string()), ("lmbda", pa.float64()), ("frame_index", pa.int64())]
)
"""What a manifest says of a frame; all but its path may be left out."""

_PATIENCE_SECONDS = 5.0  # for a manifest behind a URI: nothing has begun yet


ManifestRow = tuple[str, str | None, float | None, int | None]
"""Frame, encoder, lmbda and frame_index."""


def read_manifest(location: str) -> list[ManifestRow]:
    """Frame, encoder, lmbda and frame_index of each row of a manifest.

    Args:
        location: path or URI of a CSV or Parquet file with the columns ``frame`` and, if wanted, ``encoder``,
            ``lmbda`` and ``frame_index``; an empty cell is no encoder, none but the encoder's own lmbda, or the
            only frame of a file.

    Raises:
        ValueError: it cannot be read, a column is missing, unknown or of another type, a row has no frame, or an
            lmbda or frame_index that is none, two rows are the same, or there are none.
    """
    name = describe(location)
    try:
        content = read_bytes(location, _PATIENCE_SECONDS)
    except OSError as error:
        raise ValueError(f"the manifest {name} cannot be read: {reason_of(error)}") from None
    try:
        parse = _parse_csv if describe(location).lower().endswith(".csv") else _parse_parquet
        table = parse(content)
        if unknown := [column for column in table.column_names if column not in COLUMNS.names]:
            raise ValueError(f"its columns are {', '.join(COLUMNS.names)}; found {', '.join(map(repr, unknown))}")
        if "frame" not in table.column_names:
            raise ValueError(f"it has a column frame; found {', '.join(table.column_names) or 'none'}")
        for field in COLUMNS:
            if field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        columns = table.select(COLUMNS.names).cast(COLUMNS).to_pydict().values()
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"the manifest {name}: {reason_of(error)}") from None
    rows = list(zip(*columns, strict=True))
    if not rows:
        raise ValueError(f"the manifest {name} has no rows")
    first: dict[ManifestRow, int] = {}
    for number, row in enumerate(rows, start=1):
        frame, _, lmbda, frame_index = row
        if not frame:
            raise ValueError(f"the manifest {name}, row {number}: there is no frame")
        if lmbda is not None and not (math.isfinite(lmbda) and lmbda >= 0):
            raise ValueError(f"the manifest {name}, row {number}: lmbda is a number, 0 or more; found {lmbda}")
        if frame_index is not None and frame_index < 0:
            raise ValueError(
                f"the manifest {name}, row {number}: frame_index is an integer, 0 or more; found {frame_index}"
            )
        if row in first:
            raise ValueError(f"the manifest {name}, row {number}: the same as row {first[row]}")
        first[row] = number
    return rows


def _parse_csv(content: bytes) -> pa.Table:
    if not content.strip():
        raise ValueError("the file is empty")
    convert = pyarrow.csv.ConvertOptions(column_types=COLUMNS, strings_can_be_null=True, null_values=[""])
    # A spreadsheet may begin a file with a byte order mark.
    return pyarrow.csv.read_csv(pa.BufferReader(content.removeprefix(b"\xef\xbb\xbf")), convert_options=convert)


def _parse_parquet(content: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(content))
