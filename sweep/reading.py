"""The rate–distortion table of a job as people read it."""

import os
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from sweep.parquet import damaged
from sweep.rows import RD_FOLDER, rd_files
from sweep.storage import Storage
from sweep.table import RD_TABLE
from workers.codec import MODULES
from workers.errors import ResultsError


def read_rd_table(
    out: str | os.PathLike[str],
    *,
    frames: Sequence[str] | None = None,
    modules: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rate–distortion table of a job, also of one that is still running.

    Args:
        out: folder or URI of the job's results.
        frames: ids of the frames wanted; ``None`` for all.
        modules: modules wanted; ``None`` for all.
        columns: columns wanted; ``None`` for all.

    Returns:
        One row per (frame, module, pair), in grid order within a frame. Names are categories; counts and bits
        are nullable integers, null unless the row's ``status`` is ``ok``. Units are in the columns' names.

    Raises:
        ResultsError: there are no results, or they are damaged.
        ValueError: there is no such module or column.

    Example:
        >>> table = read_rd_table("out/example")  # doctest: +SKIP
        >>> table[table.chosen][["frame", "module", "q_step_weight", "q_step_bias"]]  # doctest: +SKIP
    """
    for name, wanted, known in (("modules", modules, MODULES), ("columns", columns, RD_TABLE.names)):
        if unknown := sorted(set(wanted or ()) - set(known)):
            raise ValueError(f"{name}: accepted: {', '.join(known)}; found {', '.join(unknown)}")
    storage = Storage(os.fspath(out))
    paths = [storage.inner(path) for path in rd_files(storage, frames)]
    condition = None if modules is None else pc.field("module").isin(pa.array(modules, pa.string()))
    try:
        dataset = ds.dataset(paths, schema=RD_TABLE, filesystem=storage.filesystem)
        table = dataset.to_table(columns=None if columns is None else list(columns), filter=condition)
    except (pa.ArrowException, OSError) as error:
        raise ResultsError(damaged(storage, RD_FOLDER, error)) from None
    return to_pandas(table)


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Rows as pandas shows them: names as categories, counts and bits as nullable integers."""
    integers = {pa.int8(): pd.Int8Dtype(), pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = table.unify_dictionaries().to_pandas(types_mapper=integers.get)
    return frame
