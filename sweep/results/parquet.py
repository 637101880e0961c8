"""Whole Parquet files in a folder of results, and tables that grow until they are written."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweep.results.storage import Storage
from sweep.results.table import complete
from workers.errors import DamagedError, ResultsError

FORMAT = 2
"""Version of ``job.yaml`` and of all tables, written in the metadata of each; see TABLES.md. Release 0.1.0 wrote
version 1, which stands nowhere."""

_FORMAT = b"qsweep.format"


def write_table(storage: Storage, path: str, table: pa.Table, *, durable: bool = True) -> None:
    """Write a table as one whole Parquet file; see :meth:`~sweep.results.Storage.write`."""
    storage.write(path, to_parquet(table), durable=durable)


def read_table(storage: Storage, path: str) -> pa.Table:
    """Read one of a job's Parquet files.

    Raises:
        ResultsError: there is no such file, or it cannot be reached.
        DamagedError: it is damaged.
    """
    if not storage.is_file(path):
        raise ResultsError(f"{storage.describe(path)}: there is no such file; is this the folder of a job?")
    with open_table(storage, path) as source:
        table = pq.read_table(source)
    check_format(storage, path, table.schema)
    return table


def check_format(storage: Storage, path: str, schema: pa.Schema) -> None:
    """Refuse a table of a later version, whose columns may mean something else.

    Raises:
        ResultsError: it is one.
    """
    written = (schema.metadata or {}).get(_FORMAT, b"1").decode()
    if not written.isdecimal() or int(written) > FORMAT:
        raise ResultsError(
            f"{storage.describe(path)}: was written by a later version (format {written}; known: up to {FORMAT})"
        )


def read_as(storage: Storage, path: str, schema: pa.Schema) -> pa.Table:
    """Read one of the tables that are written anew every so often; see :func:`~sweep.results.table.complete`.

    Raises:
        ResultsError: there is no such file, or it cannot be reached.
        DamagedError: it is damaged.
    """
    table = read_table(storage, path)
    try:
        return complete(table, schema).select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise DamagedError(damaged(storage, path, error)) from None


@contextmanager
def open_table(storage: Storage, path: str) -> Iterator[pa.NativeFile]:
    """Open one of a job's Parquet files; whatever is wrong with its content is a ``DamagedError``."""
    content = storage.read(path)
    try:
        yield pa.BufferReader(content)
    except (pa.ArrowException, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{damaged(storage, path, error)}; remove this file to have it made anew") from None


def damaged(storage: Storage, path: str, error: Exception) -> str:
    """What is to be said of a file that cannot be made sense of."""
    reason = str(error).partition("\n")[0] if isinstance(error, pa.ArrowException | OSError) else repr(error)
    return f"{storage.describe(path)}: damaged, or not of this program: {reason}"


def to_parquet(table: pa.Table) -> pa.Buffer:
    """A table as the bytes of a file."""
    sink = pa.BufferOutputStream()
    # Numbers are no two the same: looking for those that are takes longer than all the rest.
    names = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _FORMAT: str(FORMAT).encode()})
    pq.write_table(table, sink, use_dictionary=names, write_statistics=False)
    return sink.getvalue()


class Columns:
    """Rows of a table that grows, a few of them kept as they came and the others as columns."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[Mapping[str, Any]] = []
        self._tables: list[pa.Table] = [schema.empty_table()]

    def add(self, row: Mapping[str, Any]) -> None:
        """One more row."""
        self._rows.append(row)
        if len(self._rows) >= 1024:
            self._tables.append(pa.Table.from_pylist(self._rows, self._schema))
            self._rows.clear()

    def add_table(self, table: pa.Table) -> None:
        """More rows."""
        self._tables.append(table.select(self._schema.names).cast(self._schema))
        if len(self._tables) >= 1024:
            self._tables = [pa.concat_tables(self._tables).combine_chunks()]

    def table(self) -> pa.Table:
        """All of them."""
        rows = pa.Table.from_pylist(self._rows, self._schema)
        return pa.concat_tables([*self._tables, rows])

    def only(self, condition: pc.Expression) -> "Columns":
        """Those of the rows that meet a condition."""
        kept = Columns(self._schema)
        kept.add_table(self.table().filter(condition))
        return kept
