"""The rate–distortion table of a job as people read it."""

import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from sweep.results.arguments import names_of
from sweep.results.damage import find_damaged
from sweep.results.layout import CHOICES_FILE, RD_FOLDER
from sweep.results.parquet import check_format, damaged, read_as
from sweep.results.rows import present_files, rd_files
from sweep.results.storage import Storage
from sweep.results.table import CHOICES, RD_TABLE, fill_coolchic
from workers.codec.family import modules as known_modules
from workers.errors import ResultsError

_log = logging.getLogger(__name__)

_FILES_AT_ONCE = 512
"""Frames that are read together: more at a time take more memory, and no less time."""

Out = str | os.PathLike[str]


def read_rd_table(
    out: Out,
    *,
    frames: Iterable[str] | None = None,
    modules: Iterable[str] | None = None,
    columns: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Rate–distortion table of a job, also of one that is still running.

    What is not asked for is not read: files of other frames are not opened, other columns stay in theirs.

    Args:
        out: folder or URI of the job's results.
        frames: ids of the frames wanted, as text; ``None`` for all. Like ``modules`` and ``columns`` a list, or
            whatever else gives names: an array, an index or column of pandas, a set, a generator.
        modules: modules wanted; ``None`` for all.
        columns: columns wanted; ``None`` for all.

    Returns:
        One row per (frame, coolchic, module, pair), in grid order within a frame. Names are categories; counts and
        bits are nullable integers, null unless the row's ``status`` is ``ok``. Units are in the columns' names.

    Raises:
        ResultsError: there are no results, or they are damaged.
        ValueError: there is no such module or column, or what is given is no list of text.

    Example:
        >>> table = read_rd_table("out/example", modules=["arm"])  # doctest: +SKIP
        >>> table[table.chosen][["frame", "q_step_weight", "q_step_bias"]]  # doctest: +SKIP
    """
    return _to_pandas(list(_scan(out, frames, modules, columns, _FILES_AT_ONCE)))


def iter_rd_table(
    out: Out,
    *,
    frames: Iterable[str] | None = None,
    modules: Iterable[str] | None = None,
    columns: Iterable[str] | None = None,
    n_frames: int = _FILES_AT_ONCE,
) -> Iterator[pd.DataFrame]:
    """The table of :func:`read_rd_table` in parts: of a job of any size, no more than one is in memory.

    Args:
        out: folder or URI of the job's results.
        frames: ids of frames; ``None`` for all.
        modules: names of modules; ``None`` for all.
        columns: names of columns; ``None`` for all.
        n_frames: of a part, at most; none is cut in two.

    Yields:
        The rows of the next frames.

    Raises:
        ResultsError: there are no results, or they are damaged.
        ValueError: there is no such module or column, or no room for a frame in a part.

    Example:
        >>> parts = iter_rd_table("out/example", columns=["frame", "module", "loss"])  # doctest: +SKIP
        >>> best = pd.concat(
        ...     part.groupby(["frame", "module"], observed=True).loss.min() for part in parts
        ... )  # doctest: +SKIP
    """
    if n_frames < 1:
        raise ValueError(f"n_frames: accepted: 1 or more; found {n_frames}")
    return (_to_pandas([part]) for part in _scan(out, frames, modules, columns, n_frames))


def _scan(
    out: Out,
    frames: Iterable[str] | None,
    modules: Iterable[str] | None,
    columns: Iterable[str] | None,
    n_files: int,
) -> Iterator[pa.Table]:
    """Rows of so many files at a time; arguments and folder are checked at once."""
    ids = names_of("frames", frames)
    names = names_of("columns", columns, RD_TABLE.names)
    storage = Storage(os.fspath(out))
    wanted = _modules(storage, modules)
    paths = rd_files(storage, ids)
    condition = None if wanted is None else pc.field("module").isin(pa.array(wanted, pa.string()))

    def read_files(some: Sequence[str]) -> pa.Table:
        inner = [storage.inner(path) for path in some]
        dataset = ds.dataset(inner, schema=RD_TABLE, filesystem=storage.filesystem)
        for fragment in itertools.islice(dataset.get_fragments(), 1):  # the others are of the same job
            check_format(storage, some[0], fragment.physical_schema)
        # One buffer for each column: what a thousand small ones are allocated in is not given back.
        table = dataset.to_table(columns=names, filter=condition).unify_dictionaries().combine_chunks()
        return fill_coolchic(table)

    def read(some: Sequence[str]) -> pa.Table:
        try:
            try:
                return storage.retry(partial(read_files, some))
            except FileNotFoundError:  # the job is running, and has moved the rows to another file
                return storage.retry(partial(read_files, present_files(storage, some)))
        except OSError as error:
            whole = some if frames is not None else _without_damaged(storage, some)
            if len(whole) < len(some):
                return read(whole)
            storage.check_outage(RD_FOLDER, error)
            raise ResultsError(damaged(storage, RD_FOLDER, error)) from None

    # Of no frames there is a table too.
    return (read(paths[k : k + n_files]) for k in range(0, max(1, len(paths)), n_files))


def _modules(storage: Storage, modules: Iterable[str] | None) -> list[str] | None:
    """Names of modules: of families that are known here, or of the job, which may have had plugins."""
    given, known = names_of("modules", modules), known_modules()
    if given is not None and not set(given) <= set(known) and storage.is_file(CHOICES_FILE):
        of_job = read_as(storage, CHOICES_FILE, CHOICES)["module"].unique().to_pylist()
        known = [*known, *(name for name in of_job if name not in known)]
    return names_of("modules", modules if isinstance(modules, set | frozenset) else given, known)


def _without_damaged(storage: Storage, paths: Sequence[str]) -> list[str]:
    """Files of rows but for those that a power failure has left empty or cut off: their frames are not done."""
    sizes = {file.path: file for file in storage.files(RD_FOLDER)}
    damages = find_damaged(storage, (sizes[path] for path in paths if path in sizes))
    for path, damage in damages.items():
        _log.warning("%s: %s; its frame is left out, until the job is resumed", storage.describe(path), damage)
    return [path for path in paths if path not in damages]


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Rows as pandas shows them: names as categories, counts and bits as nullable integers."""
    return _to_pandas([table])


def _to_pandas(parts: list[pa.Table]) -> pd.DataFrame:
    """The same, of several tables, which are used up."""
    integers = {pa.int8(): pd.Int8Dtype(), pa.int64(): pd.Int64Dtype()}
    table = pa.concat_tables(parts).unify_dictionaries()
    parts.clear()
    # Each column is let go of when it has been converted.
    frame: pd.DataFrame = table.to_pandas(types_mapper=integers.get, split_blocks=True, self_destruct=True)
    return frame
