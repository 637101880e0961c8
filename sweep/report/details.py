"""What there is to see of one frame: its pairs, where its bits go, its pictures."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sweep.report import frame_data, refinement_data
from sweep.report.pictures import FramePictures
from sweep.report.terms import Records, network_name
from sweep.results import read_rd_table
from workers.errors import ResultsError

Json = dict[str, Any]


def pixels_of(record: Mapping[str, Any]) -> int:
    """Luma samples of a frame that was opened."""
    return int(record["height"]) * int(record["width"])


def was_opened(record: Mapping[str, Any]) -> bool:
    """Whether anything can have been measured of a frame: it was read, and its size is known."""
    return record["width"] is not None


def frame_details(
    out: str,
    records: Records,
    choices: Mapping[str, Records],
    refined: Mapping[str, Records],
    pictures: FramePictures,
) -> list[Json]:
    """Everything that the page shows of some frames beside their records, ready for JSON.

    Args:
        out: folder or URI of the results.
        records: of ``frames.parquet``, of frames that were opened.
        choices: of ``choices.parquet``, by frame.
        refined: of ``refined.parquet``, by frame; none of a frame that was not refined.
        pictures: draws those of the frames that are done.

    Returns:
        For each frame ``modules``, by name of the network ``pairs`` and ``winner``; ``refined``, ``parts``,
        ``pictures``; and
        ``notes`` on whatever cannot be shown, with the reason.
    """
    frames = [record["frame"] for record in records]
    notes: dict[str, list[str]] = {frame: [] for frame in frames}
    rows = _rows(out, frames, notes)
    pairs, winners = frame_data.pairs(rows, {r["frame"]: pixels_of(r) for r in records}), frame_data.winners(rows)
    found: list[Json] = []
    for record in records:
        frame = record["frame"]
        details: Json = {"frame": frame, "modules": {}, "parts": [], "notes": notes[frame]}
        networks = rows.loc[rows.frame == frame, ["coolchic", "module"]].drop_duplicates()
        for coolchic, module in networks.itertuples(index=False):  # in the order of the sweep
            key = (frame, coolchic, module)
            details["modules"][network_name(coolchic, module)] = {"pairs": pairs[key], "winner": winners[key]}
        if record["status"] == "done":
            details["parts"] = frame_data.parts(record, refined[frame] or choices[frame])
            details["refined"] = refinement_data.of_frame(refined[frame], choices[frame])
            details["pictures"] = pictures.draw(record, notes[frame])
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
    return pd.concat(parts).astype({"frame": "category", "coolchic": "category", "module": "category"})
