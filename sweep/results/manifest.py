"""``manifest.parquet``: the frames that a job has or had, their ids, and what their results were made of."""

import pyarrow as pa
import pyarrow.compute as pc

from sweep.results.layout import MANIFEST_FILE
from sweep.results.parquet import read_as
from sweep.results.storage import Storage
from sweep.results.table import IDENTITY
from workers.errors import DamagedError

MANIFEST = pa.schema(
    [
        ("id", pa.string()),
        ("frame", pa.string()),
        ("encoder", pa.string()),
        ("lmbda", pa.float64()),
        ("frame_index", pa.int64()),
        ("relative", pa.string()),
        ("in_job", pa.bool_()),
        ("lmbda_used", pa.float64()),
        *IDENTITY,
    ]
)
"""One row per frame: those of the job in the order of its configuration, then those that were left out of it.

Paths and URIs are without credentials; ``relative`` is the path relative to the configuration's folder;
``lmbda_used`` and what follows are null until the frame is done.
"""


def read_manifest_table(storage: Storage) -> pa.Table:
    """The manifest of a job; what an earlier version did not write is null, and all its frames are in the job.

    Raises:
        ResultsError: it is missing.
        DamagedError: it is damaged.
    """
    table = read_as(storage, MANIFEST_FILE, MANIFEST)
    index = MANIFEST.get_field_index("in_job")
    return table.set_column(index, MANIFEST.field(index), pc.fill_null(table["in_job"], True))


def job_frames(storage: Storage) -> pa.Table:
    """The rows of frames that are in the job.

    Raises:
        ResultsError: see :func:`read_manifest_table`.
    """
    return read_manifest_table(storage).filter(pc.field("in_job"))


def left_out(storage: Storage) -> set[str]:
    """Ids of frames that were in the job once; none where the manifest is missing or damaged.

    Raises:
        ResultsError: the results cannot be reached.
    """
    if not storage.is_file(MANIFEST_FILE):
        return set()
    try:
        return set(read_manifest_table(storage).filter(~pc.field("in_job"))["id"].to_pylist())
    except DamagedError:
        return set()
