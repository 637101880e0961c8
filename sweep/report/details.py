"""What there is to see of one frame: its pairs, where its bits go, its pictures."""

import base64
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sweep.reading import read_rd_table
from sweep.report import data
from sweep.results import QUANTIZED_FOLDER
from sweep.storage import Storage
from workers.codec import Frame, parse_frame_encoder, read_frame
from workers.errors import InputError, ResultsError
from workers.pictures import draw_pictures

MAX_SIDE = 768
"""Pixels of the longer side of a picture."""

Json = dict[str, Any]


def pixels_of(record: Mapping[str, Any]) -> int:
    """Luma samples of a frame that was opened."""
    return int(record["height"]) * int(record["width"])


def was_opened(record: Mapping[str, Any]) -> bool:
    """Whether anything can have been measured of a frame: it was read, and its size is known."""
    return record["width"] is not None


def frame_details(
    storage: Storage, out: str, record: Mapping[str, Any], choices: data.Records, *, pictures: bool
) -> Json:
    """Everything that the page shows of a frame beside its record, ready for JSON.

    Args:
        storage: the results.
        out: the same.
        record: of ``frames.parquet``.
        choices: of ``choices.parquet``, all of this frame.
        pictures: whether to draw them, which takes a while.

    Returns:
        ``modules``, by name ``pairs`` and ``warnings``; ``choices``; ``parts``; ``pictures``; and ``notes`` on
        whatever cannot be shown, with the reason.
    """
    details: Json = {"frame": record["frame"], "modules": {}, "choices": [], "parts": [], "notes": []}
    if was_opened(record):
        try:
            rows = read_rd_table(out, frames=[record["frame"]])
        except ResultsError as error:
            details["notes"].append(str(error))
        else:
            details["modules"] = _modules(rows, pixels_of(record))
            details["choices"] = _choices(rows)
    if record["status"] == "done":
        details["parts"] = data.parts(record, choices)
        if pictures:
            details["pictures"] = _pictures(storage, record, details["notes"])
        else:
            details["notes"].append("Pictures are drawn of the first frames alone: see qsweep report --pictures.")
    return details


def _modules(rows: pd.DataFrame, pixels: int) -> Json:
    pairs = data.pairs(rows, pixels)
    return {
        module: {"pairs": columns, "warnings": data.warnings(rows[rows.module == module])}
        for module, columns in pairs.items()
    }


def _choices(rows: pd.DataFrame) -> data.Records:
    columns = {
        "module": "module",
        "weight": "q_step_weight",
        "bias": "q_step_bias",
        **{name: name for name in ("expgol_cnt_weight", "rate_weight_bit", "expgol_cnt_bias", "rate_bias_bit")},
        "loss": "loss",
    }
    chosen = rows[rows.chosen]
    return [
        {name: row[column] for name, column in columns.items()}
        | {name: data.exponent(row[f"q_step_{name}"]) for name in ("weight", "bias")}
        for row in chosen.sort_values("module").to_dict("records")
    ]


def _pictures(storage: Storage, record: Mapping[str, Any], notes: list[str]) -> Json | None:
    path = f"{QUANTIZED_FOLDER}/{record['frame']}.safetensors"
    frame: Frame | None = None
    try:
        frame = read_frame(record["path"])
    except InputError as error:
        notes.append(f"The original cannot be shown: {error}")
    try:
        frame_encoder, _ = parse_frame_encoder(storage.read(path), storage.describe(path))
        drawn = draw_pictures(frame_encoder, frame, MAX_SIDE)
    except (InputError, ResultsError) as error:
        notes.append(f"The pictures cannot be drawn: {error}")
        return None
    files = {"original": drawn.original, "decoded": drawn.decoded, "error": drawn.error}
    return {name: None if file is None else _data_uri(file) for name, file in files.items()} | {
        "white": drawn.white
    }


def _data_uri(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode()
