"""The files of rows: a folder for every frame, whose files tell by their names what became of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweep.config import escape
from sweep.results.layout import RD_FOLDER
from sweep.results.manifest import left_out
from sweep.results.parquet import check_format, open_table, to_parquet
from sweep.results.refined import REFINED, refined_rows
from sweep.results.storage import Storage
from sweep.results.table import CHOICES, RD_TABLE, chosen_rows, rd_table, swept_rows
from sweep.schedule import FrameEnded, FrameSwept
from workers.candidates import by_network
from workers.errors import ResultsError
from workers.files import Fingerprint
from workers.source import FrameInfo

COLUMNS_FILE = "columns.parquet"
"""Has no rows and no column ``frame``, and is the first file of the folder: Arrow takes the columns from that one.

Arrow then adds the column ``frame`` that it makes of the folders' names: of strings, or of dictionaries for pandas
and ``infer_dictionary``. A first file with the column would fit one of these types only, and fail with the other.
"""
_COLUMNS_FOLDER = f"{RD_FOLDER}/frame=%2Fids-are-text"
"""Readers guess the type of ids from the names of all folders. This name is no number, so ``01`` is read as text.
No id has a slash."""
_TEXT_IN_PANDAS = {
    "index_columns": [],
    "column_indexes": [],
    "columns": [
        {
            "name": "frame",
            "field_name": "frame",
            "pandas_type": "unicode",
            "numpy_type": "large_string[pyarrow]",
            "metadata": None,
        }
    ],
}
"""Without it pandas makes categories of the names of all folders, that of :data:`COLUMNS_FILE` among them."""

_FILES = {"done": "part-0.parquet", "failed": "failed-0.parquet", "swept": "swept-0.parquet"}
_SEEKERS = 16  # files that are looked for at a time, behind a URI
# What else is known of a frame is in the file of its rows: both are there, or neither.
_RECORD = b"qsweep.frame"  # its row of frames.parquet
_SWEPT = b"qsweep.swept"  # what its refinement or its bitstream begins with, if the sweep was complete
_REFINED = b"qsweep.refined"  # its rows of refined.parquet


def rd_path(frame: str, status: str = "done") -> str:
    """Where, below ``out``, the rows of a frame are that is ``done``, ``failed`` or, for the time being, ``swept``.

    What became of a frame, and whether it is to be tried again, can be told from the names of its files.
    """
    return f"{frame_folder(frame)}/{_FILES[status]}"


def frame_folder(frame: str) -> str:
    """Where the files of rows of a frame are."""
    return f"{RD_FOLDER}/frame={escape(frame)}"


def current(paths: Iterable[str]) -> dict[str, str]:
    """Of files of rows, those that count, and what became of their frames.

    Killed at the wrong moment, a job leaves files of two kinds for a frame: the rows in them are the same.
    """
    statuses = {name: status for status, name in _FILES.items()}
    order = list(_FILES.values())
    found: dict[str, str] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name in statuses:
            found[folder] = min(name, found.get(folder, name), key=order.index)
    return {f"{folder}/{name}": statuses[name] for folder, name in found.items()}


def write_rd_table(storage: Storage, ended: FrameEnded, record: Mapping[str, Any]) -> pa.Table:
    """Write the rows of a frame and, in the same file, its record; give the rows."""
    rows = rd_table(ended)
    known: dict[bytes, Any] = {_RECORD: dict(record)}
    if ended.sweep_seconds is not None:
        assert ended.info is not None
        known[_SWEPT] = _swept_content(ended.info, ended.sweep_seconds)
    if ended.refined is not None:
        known[_REFINED] = refined_rows(ended)
    _write_rows(storage, rd_path(ended.frame, ended.status), rows, known)
    return rows


def write_swept(storage: Storage, swept: FrameSwept) -> None:
    """Write the rows of a frame that is still to be refined or encoded, with all that is known of it."""
    known = {_SWEPT: _swept_content(swept.info, swept.seconds)}
    _write_rows(storage, rd_path(swept.frame, "swept"), rd_table(swept), known)


def _swept_content(info: FrameInfo, seconds: float) -> dict[str, Any]:
    return {"info": info._replace(networks=())._asdict(), "seconds": seconds}  # networks are known from the encoder


def unfinish(storage: Storage, frame: str) -> None:
    """Make of the rows of a frame that is done those of one that is swept: its refinement is to be made again.

    Raises:
        DamagedError: the file does not say what is needed for that.
    """
    with open_table(storage, rd_path(frame)) as source:
        rows = pq.read_table(source)
        known = {_SWEPT: json.loads(rows.schema.metadata[_SWEPT])}
    _write_rows(storage, rd_path(frame, "swept"), rows, known)
    storage.delete(rd_path(frame))


def prepare_rd_folder(storage: Storage) -> None:
    """Make the folder one that common readers of Parquet understand, before there are rows in it."""
    if not storage.is_file(path := f"{_COLUMNS_FOLDER}/{COLUMNS_FILE}"):
        storage.write(path, to_parquet(_columns()))


def _columns() -> pa.Table:
    described = {"pandas": json.dumps(_TEXT_IN_PANDAS)}
    return RD_TABLE.empty_table().drop_columns(["frame"]).replace_schema_metadata(described)


def _write_rows(storage: Storage, path: str, rows: pa.Table, known: Mapping[bytes, Any]) -> None:
    """Write the rows of a frame and, in the same file, what else is known of it."""
    folder = path.rpartition("/")[0]
    if folder < _COLUMNS_FOLDER:  # of an id such as ``$a``, which would have the first file of all
        storage.write(f"{folder}/{COLUMNS_FILE}", to_parquet(_columns()))
    metadata = {key: json.dumps(content).encode() for key, content in known.items()}
    storage.write(path, to_parquet(rows.replace_schema_metadata(metadata)))


def read_swept(storage: Storage, frame: str, status: str = "swept") -> FrameSwept | None:
    """The sweep of a frame that is to be refined or encoded.

    Args:
        storage: of the results.
        frame: its id.
        status: ``swept``; or ``failed``, of one that failed thereafter.

    Returns:
        ``None`` if the sweep was not complete when it failed.

    Raises:
        ResultsError: the file is damaged, or not of this program.
    """
    with open_table(storage, rd_path(frame, status)) as source:
        table = pq.read_table(source)
        if status == "failed" and _SWEPT not in table.schema.metadata:
            return None
        known = json.loads(table.schema.metadata[_SWEPT])
        rows = swept_rows(table)
        chosen = (row.measurement for row, won in zip(rows, table["chosen"].to_pylist(), strict=True) if won)
        choices = dict(by_network(measurement.choice() for measurement in chosen))
        known["info"]["warnings"] = tuple(known["info"].get("warnings", ()))
        known["info"]["networks"] = ()
        for name in ("frame_file", "encoder_file"):
            if known["info"].get(name) is not None:
                known["info"][name] = Fingerprint(*known["info"][name])
        return FrameSwept(frame, FrameInfo(**known["info"]), rows, choices, known["seconds"])


def read_record(storage: Storage, frame: str, status: str = "done") -> dict[str, Any]:
    """Record of a frame that is ``done``, or that ``failed``.

    Raises:
        ResultsError: the file is damaged, or not of this program.
    """
    with open_table(storage, rd_path(frame, status)) as source:
        schema = pq.read_schema(source)
        record: dict[str, Any] = json.loads(schema.metadata[_RECORD])
    check_format(storage, rd_path(frame, status), schema)
    return record


def read_choices(storage: Storage, frame: str) -> pa.Table:
    """Rows of ``choices.parquet`` for a frame that is done.

    Raises:
        ResultsError: its rows are damaged.
    """
    with open_table(storage, rd_path(frame)) as source:
        wanted = {*CHOICES.names, "chosen"}.intersection(pq.read_schema(source).names)
        return chosen_rows(pq.read_table(source, columns=sorted(wanted)))


def read_refined_rows(storage: Storage, frame: str) -> pa.Table:
    """Rows of ``refined.parquet`` for a frame that is done; none if it was not refined.

    Raises:
        ResultsError: its rows are damaged.
    """
    with open_table(storage, rd_path(frame)) as source:
        rows = json.loads(pq.read_schema(source).metadata.get(_REFINED, b"[]"))
        return pa.Table.from_pylist(rows, REFINED)


def present_files(storage: Storage, paths: Sequence[str]) -> list[str]:
    """Files of rows that were there, or what has taken their place since then."""

    def find(path: str) -> str:
        folder = path.rpartition("/")[0]
        places = (f"{folder}/{name}" for name in _FILES.values())
        return next((place for place in places if storage.is_file(place)), path)

    with ThreadPoolExecutor(1 if storage.local else _SEEKERS) as seekers:
        return list(seekers.map(find, paths))


def rd_files(storage: Storage, frames: Sequence[str] | None) -> list[str]:
    """Paths below ``out`` of the rows of some frames, or of all of the job that have ended.

    Raises:
        ResultsError: there are none.
    """
    where = storage.describe(RD_FOLDER)
    if frames is None:
        found = current(file.path for file in storage.files(RD_FOLDER))
        if not found:
            raise ResultsError(f"{where}: there are no rows; is this the folder of a job?")
        others = {frame_folder(frame) for frame in left_out(storage)}
        return sorted(path for path in found if path.rpartition("/")[0] not in others)

    def find(frame: str) -> str | None:
        of_frame = (rd_path(frame, status) for status in _FILES)
        return next((path for path in of_frame if storage.is_file(path)), None)

    with ThreadPoolExecutor(1 if storage.local else _SEEKERS) as seekers:
        places = dict(zip(frames, seekers.map(find, frames), strict=True))
    if missing := [frame for frame, path in places.items() if path is None]:
        raise ResultsError(f"{where}: there are no rows of frame {', '.join(missing)}")
    return [path for path in places.values() if path is not None]
