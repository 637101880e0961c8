"""The tables of a job: their schemas, once, and what becomes a row of them."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.schedule import FrameEnded, FrameSwept, SweptRow
from workers.answers import Cost
from workers.candidates import (
    ARITHMETIC,
    RESIDUE,
    Candidate,
    Counts,
    Measured,
    Measurement,
    QStepPair,
    network_id,
    split_id,
)
from workers.psnr import psnr_db
from workers.reasons import describe_error
from workers.source import FrameInfo

_NAME = pa.dictionary(pa.int32(), pa.string())

RD_TABLE = pa.schema(
    [
        ("frame", _NAME),
        ("lmbda", pa.float64()),
        ("coolchic", _NAME),
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
        ("distortion", pa.float64()),
        ("loss_lower_bound", pa.float64()),
        ("arithmetic", _NAME),
        ("replica", _NAME),
        ("seconds", pa.float64()),
    ]
)
"""One row per (frame, coolchic, module, pair); what was measured is null unless the status is ``ok``."""

_OF_ROW = {
    "q_step_weight": "measurement.candidate.edit.weight",
    "q_step_bias": "measurement.candidate.edit.bias",
    "status": "measurement.status",
    "loss_lower_bound": "measurement.loss_lower_bound",
    "arithmetic": "measurement.arithmetic",
    "replica": "replica",
    "seconds": "measurement.seconds",
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
    "distortion": "distortion",
}

CHOICES = pa.schema(
    [RD_TABLE.field(name).with_type(pa.string()) for name in ("frame", "coolchic", "module")]
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
"""One row per (frame, coolchic, module) that a choice was made for."""

IDENTITY = pa.schema(
    [
        ("frame_stamp", pa.string()),
        ("frame_digest", pa.string()),
        ("encoder_stamp", pa.string()),
        ("encoder_digest", pa.string()),
        ("encoder_frame", pa.int32()),
        ("arithmetic", pa.int32()),
        ("refine", pa.string()),
    ]
)
"""What the results of a frame were made of: stamps and digests of its files, as in
:class:`~workers.files.Fingerprint`, and the version of the arithmetic. Those of the encoder are null where it was
fitted by the job. How the choices were refined is null where they were not."""

FRAMES = pa.schema(
    [
        ("frame", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("path", pa.string()),
        ("frame_index", pa.int32()),
        ("encoder", pa.string()),
        ("family", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("lmbda", pa.float64()),
        ("loss", pa.float64()),
        ("mse", pa.float64()),
        ("psnr_db", pa.float64()),
        ("distortion", pa.float64()),
        ("rate_latent_bpp", pa.float64()),
        ("rate_nn_bpp", pa.float64()),
        ("rate_grid_bit", pa.list_(pa.float64())),
        ("file_bytes", pa.int64()),
        ("file_bpp", pa.float64()),
        ("file_latent_bytes", pa.int64()),
        ("file_nn_bytes", pa.int64()),
        ("seconds", pa.float64()),
        *IDENTITY,
    ]
)
"""One row per frame of the job; what was measured is null unless the status is ``done``."""


def complete(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table that an earlier version wrote, with the columns of this one.

    Version 0.1.0 knew encoders of one cool-chic, ``residue``. Whatever else is missing is null.
    """
    for index, field in enumerate(schema):
        if field.name not in table.column_names:
            value = pa.scalar(RESIDUE if field.name == "coolchic" else None, pa.string())
            column = pa.repeat(value, table.num_rows) if value.is_valid else pa.nulls(table.num_rows, field.type)
            table = table.add_column(min(index, table.num_columns), field, column.cast(field.type))
    return table


def fill_coolchic(table: pa.Table) -> pa.Table:
    """The same for rows that were read by the schema :data:`RD_TABLE`, as null where they do not say it."""
    if "coolchic" not in table.column_names or not table["coolchic"].null_count:
        return table
    names = pc.fill_null(table["coolchic"].cast(pa.string()), RESIDUE).dictionary_encode()
    return table.set_column(table.column_names.index("coolchic"), RD_TABLE.field("coolchic"), names)


def rd_table(ended: FrameSwept | FrameEnded) -> pa.Table:
    """Rows of one frame, in grid order."""
    n = len(ended.rows)
    columns: dict[str, Sequence[object]] = {
        "frame": [ended.frame] * n,
        "lmbda": [None if ended.info is None else ended.info.lmbda] * n,
    }
    columns |= _columns(_OF_ROW, ended.rows)
    columns |= _columns(_OF_MEASURED, [row.measurement.measured for row in ended.rows])
    candidates = [row.measurement.candidate for row in ended.rows]
    ids = [split_id(candidate.network) for candidate in candidates]
    columns |= {"coolchic": [coolchic for coolchic, _ in ids], "module": [module for _, module in ids]}
    chosen = {Candidate(choice.network, choice.q_step) for choice in ended.choices.values()}
    columns["chosen"] = [candidate in chosen for candidate in candidates]
    return pa.table({name: columns[name] for name in RD_TABLE.names}, RD_TABLE)


def _columns(paths: Mapping[str, str], records: Sequence[object]) -> dict[str, Sequence[object]]:
    """Attributes of some records, by column; nothing where there is no record."""
    of_record, nothing = attrgetter(*paths.values()), (None,) * len(paths)
    values = [nothing if record is None else of_record(record) for record in records]
    return dict(zip(paths, zip(*values, strict=True) if values else [()] * len(paths), strict=True))


def frame_record(
    ended: FrameEnded, path: str, encoder: str | None, frame_index: int | None = None, *, fitted: bool = False
) -> dict[str, Any]:
    """Row of ``frames.parquet`` for a frame that has ended.

    Args:
        ended: the frame.
        path: of its file.
        encoder: of its encoder's file, fitted by this job or given.
        frame_index: display index of the frame in a file of several, where it is given.
        fitted: whether its encoder was fitted by the job.
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
        record |= identity_of(ended.info, fitted=fitted)
        record |= {name: getattr(ended.info, name) for name in ("family", "width", "height", "lmbda")}
    if ended.status == "done":
        assert ended.info is not None
        record |= _cost(ended, ended.info)
    return record


def identity_of(info: FrameInfo, *, fitted: bool) -> dict[str, Any]:
    """What a frame is measured from, as in :data:`IDENTITY`.

    Args:
        info: of the frame.
        fitted: whether its encoder was fitted by the job, and so follows from the picture.
    """
    files = {"frame": info.frame_file, "encoder": None if fitted else info.encoder_file}
    of_files = {
        f"{name}_{key}": None if file is None else getattr(file, key)
        for name, file in files.items()
        for key in ("stamp", "digest")
    }
    return {**of_files, "arithmetic": ARITHMETIC}


def _cost(ended: FrameEnded, info: FrameInfo) -> dict[str, Any]:
    """What a frame that is done costs: as its bitstream, else as its refined choices, or the last pair chosen."""
    assert ended.quantized is not None
    pixels = info.width * info.height
    rate_nn_bit, measured = _final_cost(ended)
    cost: dict[str, Any] = {
        "loss": measured.loss,
        "mse": measured.mse,
        "psnr_db": psnr_db(measured.mse),
        "distortion": measured.distortion,
        "rate_latent_bpp": measured.rate_latent_bit / pixels,
        "rate_nn_bpp": rate_nn_bit / pixels,
        "rate_grid_bit": list(ended.quantized.rate_grid_bit),
    }
    if (encoded := ended.encoded) is not None:
        rate_latent_bpp = sum(ended.quantized.rate_grid_bit) / pixels
        cost |= {
            "loss": encoded.distortion + info.lmbda * (rate_latent_bpp + cost["rate_nn_bpp"]),
            "mse": encoded.mse,
            "psnr_db": psnr_db(encoded.mse),
            "distortion": encoded.distortion,
            "rate_latent_bpp": rate_latent_bpp,
            "file_bytes": encoded.sizes.total,
            "file_bpp": 8 * encoded.sizes.total / pixels,
            "file_latent_bytes": encoded.sizes.latents,
            "file_nn_bytes": encoded.sizes.networks,
        }
    return cost


def _final_cost(ended: FrameEnded) -> tuple[int, Cost | Measured]:
    """Bits of all networks with the final choices, and what the frame costs with them if it is not encoded."""
    assert ended.quantized is not None
    last = list(ended.choices.values())[-1]
    candidate = Candidate(last.network, last.q_step)
    swept = next(row.measurement for row in ended.rows if row.measurement.candidate == candidate).measured
    assert swept is not None
    if ended.refined is None:
        return swept.rate_nn_bit, swept
    rate_nn_bit = sum(choice.rate_bit for choice in ended.refined.choices.values())
    return rate_nn_bit, ended.quantized.cost or swept


def swept_rows(table: pa.Table) -> tuple[SweptRow, ...]:
    """What :func:`rd_table` made a table of."""
    rows = []
    for record in complete(table, RD_TABLE).to_pylist():
        measured = None
        if record["status"] == "ok":
            numbers = {name: record[name] for name in Measured._fields if name != "expgol_cnt"}
            if record["distortion"] is None:  # written before there was any metric but this
                numbers["distortion"] = record["mse"]
            counts = Counts(record["expgol_cnt_weight"], record["expgol_cnt_bias"])
            measured = Measured(expgol_cnt=counts, **numbers)
        network = network_id(record["coolchic"], record["module"])
        measurement = Measurement(
            Candidate(network, QStepPair(record["q_step_weight"], record["q_step_bias"])),
            record["status"],
            measured,
            record["arithmetic"],
            record["seconds"],
            record["loss_lower_bound"],
        )
        rows.append(SweptRow(measurement, record["replica"]))
    return tuple(rows)


def chosen_rows(rows: pa.Table) -> pa.Table:
    """Rows of ``choices.parquet``: those of a frame's rows that were chosen."""
    rows = complete(rows, CHOICES)
    return rows.select(CHOICES.names).filter(rows["chosen"]).cast(CHOICES)
