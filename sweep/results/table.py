"""The tables of a job: their schemas, once, and what becomes a row of them."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import pyarrow as pa

from sweep.schedule import FrameEnded, FrameSwept, MeasuredRow
from workers.codec import psnr_db
from workers.measure import Measured, RDRow
from workers.quantize import Counts, QStepPair
from workers.reasons import describe_error
from workers.source import FrameInfo

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
        ("frame_index", pa.int32()),
        ("encoder", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("lmbda", pa.float64()),
        ("loss", pa.float64()),
        ("mse", pa.float64()),
        ("psnr_db", pa.float64()),
        ("rate_latent_bpp", pa.float64()),
        ("rate_nn_bpp", pa.float64()),
        ("rate_grid_bit", pa.list_(pa.float64())),
        ("file_bytes", pa.int64()),
        ("file_bpp", pa.float64()),
        ("file_latent_bytes", pa.int64()),
        ("file_nn_bytes", pa.int64()),
        ("seconds", pa.float64()),
    ]
)
"""One row per frame of the job; what was measured is null unless the status is ``done``."""


def rd_table(ended: FrameSwept | FrameEnded) -> pa.Table:
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


def frame_record(
    ended: FrameEnded, path: str, encoder: str | None, frame_index: int | None = None
) -> dict[str, Any]:
    """Row of ``frames.parquet`` for a frame that has ended.

    Args:
        ended: the frame.
        path: of its file.
        encoder: of its encoder's file, fitted by this job or given.
        frame_index: display index of the frame in a file of several, where it is given.
    """
    record: dict[str, Any] = {
        "frame": ended.frame,
        "status": ended.status,
        "error": None if ended.error is None else describe_error(ended.error),
        "path": path,
        "frame_index": frame_index,
        "encoder": encoder,
        "seconds": ended.seconds,
    }
    if ended.info is not None:
        record |= {"width": ended.info.width, "height": ended.info.height, "lmbda": ended.info.lmbda}
    if ended.status == "done":
        assert ended.info is not None
        record |= _cost(ended, ended.info)
    return record


def _cost(ended: FrameEnded, info: FrameInfo) -> dict[str, Any]:
    """What a frame that is done costs: as its bitstream, or else as the last pair that was chosen."""
    last_module = max(ended.choices)
    key = (last_module, ended.choices[last_module].q_step)
    measured = next(row for row, _ in ended.rows if (row.module, row.q_step) == key).measured
    assert measured is not None
    assert ended.quantized is not None
    pixels = info.width * info.height
    cost: dict[str, Any] = {
        "loss": measured.loss,
        "mse": measured.mse,
        "psnr_db": measured.psnr_db,
        "rate_latent_bpp": measured.rate_latent_bit / pixels,
        "rate_nn_bpp": measured.rate_nn_bit / pixels,
        "rate_grid_bit": list(ended.quantized.rate_grid_bit),
    }
    if (encoded := ended.encoded) is not None:
        rate_latent_bpp = sum(ended.quantized.rate_grid_bit) / pixels
        cost |= {
            "loss": encoded.mse + info.lmbda * (rate_latent_bpp + cost["rate_nn_bpp"]),
            "mse": encoded.mse,
            "psnr_db": psnr_db(encoded.mse),
            "rate_latent_bpp": rate_latent_bpp,
            "file_bytes": encoded.sizes.total,
            "file_bpp": 8 * encoded.sizes.total / pixels,
            "file_latent_bytes": encoded.sizes.latents,
            "file_nn_bytes": encoded.sizes.networks,
        }
    return cost


def measured_rows(table: pa.Table) -> tuple[MeasuredRow, ...]:
    """What :func:`rd_table` made a table of."""
    rows = []
    for record in table.to_pylist():
        measured = None
        if record["status"] == "ok":
            numbers = {name: record[name] for name in Measured._fields if name != "expgol_cnt"}
            counts = Counts(record["expgol_cnt_weight"], record["expgol_cnt_bias"])
            measured = Measured(expgol_cnt=counts, **numbers)
        row = RDRow(
            record["module"],
            QStepPair(record["q_step_weight"], record["q_step_bias"]),
            record["status"],
            measured,
            record["arithmetic"],
            record["seconds"],
            record["loss_lower_bound"],
        )
        rows.append(MeasuredRow(row, record["replica"]))
    return tuple(rows)


def chosen_rows(rows: pa.Table) -> pa.Table:
    """Rows of ``choices.parquet``: those of a frame's rows that were chosen."""
    return rows.select(CHOICES.names).filter(rows["chosen"]).cast(CHOICES)
