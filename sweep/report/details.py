"""What there is to see of one frame: its pairs, where its bits go, its pictures."""

import base64
from collections.abc import Container, Mapping
from typing import Any

import pandas as pd

from sweep.report import frame_data
from sweep.report.terms import Records
from sweep.results import QUANTIZED_FOLDER, Storage, read_rd_table
from workers.codec import MODULES, Frame, parse_frame_encoder, read_frame
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
    storage: Storage,
    out: str,
    records: Records,
    choices: Mapping[str, Records],
    with_pictures: Container[str],
) -> list[Json]:
    """Everything that the page shows of some frames beside their records, ready for JSON.

    Args:
        storage: the results.
        out: the same.
        records: of ``frames.parquet``, of frames that were opened.
        choices: of ``choices.parquet``, by frame.
        with_pictures: frames whose pictures are drawn, which takes a while.

    Returns:
        For each frame ``modules``, by name ``pairs`` and ``winner``; ``parts``; ``pictures``; and ``notes`` on
        whatever cannot be shown, with the reason.
    """
    frames = [record["frame"] for record in records]
    notes: dict[str, list[str]] = {frame: [] for frame in frames}
    rows = _rows(out, frames, notes)
    pairs, winners = frame_data.pairs(rows, {r["frame"]: pixels_of(r) for r in records}), frame_data.winners(rows)
    found: list[Json] = []
    for record in records:
        frame = record["frame"]
        details: Json = {"frame": frame, "modules": {}, "parts": [], "notes": notes[frame]}
        for module in MODULES:
            if (frame, module) in pairs:
                details["modules"][module] = {"pairs": pairs[frame, module], "winner": winners[frame, module]}
        if record["status"] == "done":
            details["parts"] = frame_data.parts(record, choices[frame])
            if frame in with_pictures:
                details["pictures"] = _pictures(storage, record, notes[frame])
            else:
                notes[frame].append("Pictures are drawn of the first frames alone: see qsweep report --pictures.")
        found.append(details)
    return found


def _rows(out: str, frames: list[str], notes: Mapping[str, list[str]]) -> pd.DataFrame:
    """Rows of some frames: of those that cannot be read, if there are any, there is a note instead."""
    try:
        return read_rd_table(out, frames=frames)
    except ResultsError:
        parts = [read_rd_table(out, frames=[])]
    for frame in frames:
        try:
            parts.append(read_rd_table(out, frames=[frame]))
        except ResultsError as error:
            notes[frame].append(str(error))
    return pd.concat(parts).astype({"frame": "category", "module": "category"})


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
