"""Runs of a job: their rows in the tables of its timeline, read and joined."""

import logging

import pyarrow as pa
import pyarrow.compute as pc

from sweep.results.layout import REPLICAS_FILE, TIMELINE_FILE
from sweep.results.parquet import damaged, read_table
from sweep.results.storage import Storage
from sweep.results.timeline import REPLICAS, TIMELINE
from workers.errors import DamagedError

_log = logging.getLogger(__name__)

_TABLES = ((TIMELINE_FILE, TIMELINE), (REPLICAS_FILE, REPLICAS))


def read_timeline(storage: Storage) -> tuple[pa.Table, pa.Table]:
    """The runs of a job so far, as :data:`TIMELINE` and :data:`REPLICAS`.

    Columns that another version did not write are null, those that only another version has come last. Of a file
    that is missing there is an empty table; so there is, with a warning, of one that is damaged.

    Raises:
        ResultsError: they cannot be reached.
    """
    tables = []
    for path, schema in _TABLES:
        try:
            tables.append(_read(storage, path, schema))
        except DamagedError as error:
            _log.warning("%s", error)
            tables.append(schema.empty_table())
    return tables[0], tables[1]


def take_up_timeline(storage: Storage) -> tuple[pa.Table, pa.Table]:
    """The same for a run that adds its own rows: a file that is damaged is set aside, to be replaced by none."""
    for path, schema in _TABLES:
        try:
            _read(storage, path, schema)
        except DamagedError as error:
            aside = storage.describe(storage.set_aside(path))
            _log.warning("%s; it is kept as %s, and this run begins another one", error, aside)
    return read_timeline(storage)


def _read(storage: Storage, path: str, schema: pa.Schema) -> pa.Table:
    if not storage.is_file(path):
        return schema.empty_table()
    table = read_table(storage, path)
    if "run" not in table.column_names:
        raise DamagedError(f"{storage.describe(path)}: damaged, or not of this program: it has no column run")
    try:
        columns = {
            field.name: table[field.name].cast(field.type)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in schema
        }
    except (pa.ArrowException, ValueError) as error:
        raise DamagedError(damaged(storage, path, error)) from None
    others = {name: table[name] for name in table.column_names if name not in columns}
    return pa.table(columns | others)


def join_runs(before: pa.Table, now: pa.Table) -> pa.Table:
    """Rows of earlier runs and of this one; what only some of them have is null in the others."""
    return pa.concat_tables([before, now], promote_options="default")


def next_run(*tables: pa.Table) -> int:
    """Number of the run that follows those of some tables."""
    last = (pc.max(table["run"]).as_py() for table in tables)
    return 1 + max((number for number in last if number is not None), default=-1)
