"""The report: what a job found, as one page that needs nothing but itself."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sweep.config import escape
from sweep.report.details import frame_details, pixels_of, was_opened
from sweep.report.job_view import job_view
from sweep.report.pictures import FramePictures
from sweep.report.terms import Records
from sweep.report.vega import VEGA_LITE
from sweep.results import (
    CHOICES,
    CHOICES_FILE,
    FRAMES,
    FRAMES_FILE,
    JOB_FILE,
    REFINED,
    REFINED_FILE,
    Storage,
    bitstream_format,
    read_as,
)
from workers.errors import ResultsError

REPORT_FILE = "report.html"

DETAILS_FOLDER = "report"

LISTED_FRAMES = 10_000
"""Frames that are listed, failed ones first; all of them are in the table."""

DETAILED_FRAMES = 1000
"""Frames whose pairs can be looked at, failed ones first."""

PICTURE_PIXELS = 1 << 24
"""Luma samples of the frames whose pictures are drawn unless more are asked for: some ten seconds' work."""

EMBEDDED_BYTES = 8 << 20
"""Of details that are in the page itself; those of the other frames are in files beside it, read when shown."""

_LEAST_PIXELS = 1 << 18  # that a frame counts for, however small it is: its files are read all the same

_SNIPPET = "window.vegaEmbed = vegaEmbed;"  # what the page needs of the libraries

_AT_A_TIME = 32  # frames whose details are made at a time


def write_report(out: str, *, pictures: int | None = None) -> str:
    """Write the report of a job anew from its results, whether it has ended or not.

    Args:
        out: folder or URI of the results.
        pictures: number of frames whose pictures are drawn; ``None`` for as many as :data:`PICTURE_PIXELS` allow.

    Returns:
        Where it is.

    Raises:
        ResultsError: there are no results, or the report cannot be written.
    """
    storage = Storage(out)
    if not storage.is_file(JOB_FILE):
        raise ResultsError(f"{storage.describe(JOB_FILE)}: there is no such file; is this the folder of a job?")
    storage.probe()
    frames, choices, refined = (
        read_as(storage, path, schema) if storage.is_file(path) else schema.empty_table()  # it has just begun
        for path, schema in ((FRAMES_FILE, FRAMES), (CHOICES_FILE, CHOICES), (REFINED_FILE, REFINED))
    )
    records = _failures_first(frames)
    where: dict[str, str] = {}
    embedded: list[tuple[str, Markup]] = []
    room = EMBEDDED_BYTES
    with_pictures = _with_pictures(records[:DETAILED_FRAMES], pictures)
    drawn = FramePictures(storage, with_pictures, bitstream_format(storage))
    for details in _details(out, records[:DETAILED_FRAMES], choices, refined, drawn):
        frame, text = details["frame"], _json(details)
        if len(text) <= room:
            room -= len(text)
            embedded.append((frame, Markup(text)))
            where[frame] = ""
        else:
            path = f"{DETAILS_FOLDER}/{escape(frame)}.js"
            storage.write(path, f"qsweepDetails({text});\n".encode(), durable=False)
            where[frame] = quote(path)
    job = job_view(storage, frames, choices, refined, records, where)
    page = (
        _environment()
        .get_template("report.html")
        .render(
            title=f"qsweep: {job['done']} of {job['frames']} frames done",
            job=Markup(_json(job)),
            embedded=embedded,
            vega=Markup(vl_convert.javascript_bundle(_SNIPPET, vl_version=VEGA_LITE)),
            version=version("qsweep"),
        )
    )
    storage.write(REPORT_FILE, page.encode(), durable=False)
    stale = {file.path for file in storage.files(DETAILS_FOLDER)}
    for path in stale - {f"{DETAILS_FOLDER}/{escape(frame)}.js" for frame, href in where.items() if href}:
        storage.delete(path)
    return storage.describe(REPORT_FILE)


def _failures_first(frames: pa.Table) -> Records:
    """Records of the frames that are listed."""
    rows: Records = frames.sort_by([("status", "descending")]).slice(0, LISTED_FRAMES).to_pylist()
    return rows


def _with_pictures(records: Records, n_frames: int | None) -> set[str]:
    """Frames whose pictures are drawn."""
    done = [record for record in records if record["status"] == "done"]
    if n_frames is not None:
        return {record["frame"] for record in done[:n_frames]}
    chosen, pixels = set(), 0
    for record in done:
        pixels += max(_LEAST_PIXELS, pixels_of(record))
        if pixels > PICTURE_PIXELS:
            break
        chosen.add(record["frame"])
    return chosen


def _details(
    out: str, records: Records, choices: pa.Table, refined: pa.Table, pictures: FramePictures
) -> Iterator[dict[str, Any]]:
    """Of each frame of which there is anything to show, read a few at a time."""
    shown = [record for record in records if was_opened(record)]
    chosen_of, refined_of = _by_frame(shown, choices), _by_frame(shown, refined)
    for k in range(0, len(shown), _AT_A_TIME):
        yield from frame_details(out, shown[k : k + _AT_A_TIME], chosen_of, refined_of, pictures)


def _by_frame(shown: Records, table: pa.Table) -> dict[str, Records]:
    """Rows of some frames, by frame."""
    found: dict[str, Records] = {record["frame"]: [] for record in shown}
    for row in table.to_pylist():
        if row["frame"] in found:
            found[row["frame"]].append(row)
    return found


def _json(content: object) -> str:
    """JSON that may stand inside a script: nothing in it ends one, or begins a comment."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"), default=_plain)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _plain(value: Any) -> Any:
    """A number of numpy or pandas as one of Python."""
    return value.item()


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("sweep.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
