"""The tables of a job: their schemas, once, and how rows become Parquet and come back."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweep.messages import FrameEnded
from sweep.storage import Storage
from workers.errors import ResultsError

_NAME = pa.dictionary(pa.int32(), pa.string())

RD_TABLE = pa.schema(
    [
        ("frame", _NAME),
        ("lmbda", pa.float64()),
        ("module", _NAME),
        ("q_step_weight", pa.float64()),
        ("q_step_bias", pa.float64()),
        ("status", _NAME),
        ("expgol_cnt_weight", pa.int8()),
        ("expgol_cnt_bias", pa.int8()),
        ("rate_weight_bit", pa.int64()),
        ("rate_bias_bit", pa.int64()),
        ("rate_nn_bit", pa.int64()),
        ("rate_latent_bit", pa.float64()),
        ("mse", pa.float64()),
        ("psnr_db", pa.float64()),
        ("loss", pa.float64()),
        ("chosen", pa.bool_()),
        ("loss_lower_bound", pa.float64()),
        ("arithmetic", _NAME),
        ("replica", _NAME),
        ("seconds", pa.float64()),
    ]
)
"""One row per (frame, module, pair); what was measured is null unless the status is ``ok``."""

_OF_ROW = {
    "module": "row.module",
    "q_step_weight": "row.q_step.weight",
    "q_step_bias": "row.q_step.bias",
    "status": "row.status",
    "loss_lower_bound": "row.loss_lower_bound",
    "arithmetic": "row.arithmetic",
    "replica": "replica",
    "seconds": "row.seconds",
}
_OF_MEASURED = {
    "expgol_cnt_weight": "expgol_cnt.weight",
    "expgol_cnt_bias": "expgol_cnt.bias",
    "rate_weight_bit": "rate_weight_bit",
    "rate_bias_bit": "rate_bias_bit",
    "rate_nn_bit": "rate_nn_bit",
    "rate_latent_bit": "rate_latent_bit",
    "mse": "mse",
    "psnr_db": "psnr_db",
    "loss": "loss",
}

CHOICES = pa.schema(
    [RD_TABLE.field(name).with_type(pa.string()) for name in ("frame", "module")]
    + [
        RD_TABLE.field(name)
        for name in (
            "q_step_weight",
            "q_step_bias",
            "expgol_cnt_weight",
            "expgol_cnt_bias",
            "rate_weight_bit",
            "rate_bias_bit",
            "loss",
        )
    ]
)
"""One row per (frame, module) that was settled."""

FRAMES = pa.schema(
    [
        ("frame", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("path", pa.string()),
        ("encoder", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("lmbda", pa.float64()),
        ("loss", pa.float64()),
        ("mse", pa.float64()),
        ("psnr_db", pa.float64()),
        ("rate_latent_bpp", pa.float64()),
        ("rate_nn_bpp", pa.float64()),
        ("seconds", pa.float64()),
    ]
)
"""One row per frame of the job; what was measured is null unless the status is ``done``."""

RD_FOLDER = "rd_table"
_FILES = {"done": "part-0.parquet", "failed": "failed-0.parquet"}
_RECORD = b"qsweep.frame"  # the frame's row of frames.parquet rides with its rows: both are there, or neither


def rd_path(frame: str, status: str = "done") -> str:
    """Where, below ``out``, the rows of a frame are that is done, or of one that failed.

    There is one such file for every frame that has ended: what it says of it, and whether it is to be tried again,
    can be told from its name.
    """
    return f"{RD_FOLDER}/frame={_escape(frame)}/{_FILES[status]}"


def is_done(path: str) -> bool:
    """Whether a file of rows is of a frame that is done, and not of one that failed."""
    return path.endswith(_FILES["done"])


def _escape(value: str) -> str:
    """Percent-encode what a Hive partition folder cannot hold as it is."""
    return "".join(f"%{ord(char):02X}" if char in '%=/\\:"#?*' or ord(char) < 32 else char for char in value)


def rd_table(ended: FrameEnded) -> pa.Table:
    """Rows of one frame, in grid order."""
    n = len(ended.rows)
    columns: dict[str, Sequence[object]] = {
        "frame": [ended.frame] * n,
        "lmbda": [None if ended.info is None else ended.info.lmbda] * n,
    }
    columns |= _columns(_OF_ROW, ended.rows)
    columns |= _columns(_OF_MEASURED, [row.measured for row, _ in ended.rows])
    chosen = {(module, choice.q_step) for module, choice in ended.choices.items()}
    columns["chosen"] = [(row.module, row.q_step) in chosen for row, _ in ended.rows]
    return pa.table({name: columns[name] for name in RD_TABLE.names}, RD_TABLE)


def _columns(paths: Mapping[str, str], records: Sequence[object]) -> dict[str, Sequence[object]]:
    """Attributes of some records, by column; nothing where there is no record."""
    of_record, nothing = attrgetter(*paths.values()), (None,) * len(paths)
    values = [nothing if record is None else of_record(record) for record in records]
    return dict(zip(paths, zip(*values, strict=True) if values else [()] * len(paths), strict=True))


def frame_record(ended: FrameEnded, path: str, encoder: str | None) -> dict[str, Any]:
    """Row of ``frames.parquet`` for a frame that has ended.

    Args:
        ended: the frame.
        path: of its file.
        encoder: of its encoder's file, fitted by this job or given.
    """
    record: dict[str, Any] = {
        "frame": ended.frame,
        "status": ended.status,
        "error": None if ended.error is None else str(ended.error),
        "path": path,
        "encoder": encoder,
        "seconds": ended.seconds,
    }
    if ended.info is not None:
        record |= {"width": ended.info.width, "height": ended.info.height, "lmbda": ended.info.lmbda}
    if ended.status == "done":
        assert ended.info is not None
        last_module = max(ended.choices)
        key = (last_module, ended.choices[last_module].q_step)
        final = next(row for row, _ in ended.rows if (row.module, row.q_step) == key).measured
        assert final is not None
        pixels = ended.info.width * ended.info.height
        record |= {
            "loss": final.loss,
            "mse": final.mse,
            "psnr_db": final.psnr_db,
            "rate_latent_bpp": final.rate_latent_bit / pixels,
            "rate_nn_bpp": final.rate_nn_bit / pixels,
        }
    return record


def write_rd_table(storage: Storage, ended: FrameEnded, record: Mapping[str, Any]) -> pa.Table:
    """Write the rows of a frame and, in the same file, its record; give the rows."""
    rows = rd_table(ended)
    described = rows.replace_schema_metadata({_RECORD: json.dumps(dict(record)).encode()})
    storage.write(rd_path(ended.frame, ended.status), _parquet(described))
    return rows


def _parquet(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    # Numbers are no two the same: looking for those that are takes longer than all the rest.
    names = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
    pq.write_table(table, sink, use_dictionary=names)
    return sink.getvalue()


def read_record(storage: Storage, frame: str) -> dict[str, Any]:
    """Record of a frame that is done.

    Raises:
        ResultsError: the file is damaged, or not of this program.
    """
    with _open_table(storage, rd_path(frame)) as source:
        record: dict[str, Any] = json.loads(pq.read_schema(source).metadata[_RECORD])
    return record


@contextmanager
def _open_table(storage: Storage, path: str) -> Iterator[pa.NativeFile]:
    """Open one of a job's Parquet files; whatever is wrong with it is a ``ResultsError``."""
    try:
        yield pa.BufferReader(storage.read(path))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{damaged(storage, path, error)}; remove this file to have it made anew") from None


def damaged(storage: Storage, path: str, error: Exception) -> str:
    """What is to be said of a file that cannot be made sense of."""
    reason = str(error).partition("\n")[0] if isinstance(error, pa.ArrowException | OSError) else repr(error)
    return f"{storage.describe(path)}: damaged, or not of this program: {reason}"


def chosen_rows(rows: pa.Table) -> pa.Table:
    """Rows of ``choices.parquet``: those of a frame's rows that were chosen."""
    return rows.select(CHOICES.names).filter(rows["chosen"]).cast(CHOICES)


def read_choices(storage: Storage, frame: str) -> pa.Table:
    """Rows of ``choices.parquet`` for a frame that is done.

    Raises:
        ResultsError: its rows are damaged.
    """
    with _open_table(storage, rd_path(frame)) as source:
        return chosen_rows(pq.read_table(source, columns=[*CHOICES.names, "chosen"]))


def write_table(storage: Storage, path: str, table: pa.Table) -> None:
    """Write a table as one whole Parquet file."""
    storage.write(path, _parquet(table))


def read_table(storage: Storage, path: str) -> pa.Table:
    """Read one of a job's Parquet files.

    Raises:
        ResultsError: there is no such file, or it is damaged.
    """
    if not storage.is_file(path):
        raise ResultsError(f"{storage.describe(path)}: there is no such file; is this the folder of a job?")
    with _open_table(storage, path) as source:
        return pq.read_table(source)


def rd_files(storage: Storage, frames: Sequence[str] | None) -> list[str]:
    """Paths below ``out`` of the rows of some frames, or of all that have ended.

    Raises:
        ResultsError: there are none.
    """
    where = storage.describe(RD_FOLDER)
    if frames is None:
        found = {file.path for file in storage.files(RD_FOLDER)}
        # A frame that failed and is being done may, for a moment, have rows of both.
        files = sorted(path for path in found if is_done(path) or _twin(path) not in found)
        if not files:
            raise ResultsError(f"{where}: there are no rows; is this the folder of a job?")
        return files
    files, missing = list[str](), list[str]()
    for frame in frames:
        of_frame = (rd_path(frame, status) for status in _FILES)
        path = next((path for path in of_frame if storage.is_file(path)), None)
        (missing if path is None else files).append(path or frame)
    if missing:
        raise ResultsError(f"{where}: there are no rows of frame {', '.join(missing)}")
    return files


def _twin(path: str) -> str:
    """Where the rows would be if a frame that failed were done."""
    return path.removesuffix(_FILES["failed"]) + _FILES["done"]
