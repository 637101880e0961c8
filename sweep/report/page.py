"""The report: what a job found, as one page that needs nothing but itself."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import vl_convert
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sweep.ownership import JOB_FILE, MANIFEST_FILE
from sweep.parquet import read_table
from sweep.report import data
from sweep.report.details import frame_details, pixels_of, was_opened
from sweep.report.figures import FRAME_FIGURES, JOB_FIGURES, MODULE_FIGURES, VEGA_LITE
from sweep.results import CHOICES_FILE, FRAMES_FILE
from sweep.rows import escape
from sweep.status import is_running
from sweep.storage import Storage
from sweep.table import CHOICES, FRAMES
from sweep.timeline import STAGES, read_timeline
from sweep.yaml_file import parse_yaml
from workers.errors import ResultsError

REPORT_FILE = "report.html"
DETAILS_FOLDER = "report"

LISTED_FRAMES = 10_000
"""Frames that are listed, failed ones first; all of them are in the table."""

DETAILED_FRAMES = 1000
"""Frames whose pairs can be looked at, failed ones first."""

PICTURE_PIXELS = 1 << 24
"""Luma samples of the frames whose pictures are drawn unless more are asked for: some ten seconds' work."""

_LEAST_PIXELS = 1 << 18  # that a frame counts for, however small it is: its files are read all the same

EMBEDDED_BYTES = 8 << 20
"""Of details that are in the page itself; those of the other frames are in files beside it, read when shown."""

_SNIPPET = "window.vegaEmbed = vegaEmbed;"  # what the page needs of the libraries

_LISTED_REPLICAS, _CONFIGURATION_LINES = 100, 1000
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
    frames, choices = _table(storage, FRAMES_FILE, FRAMES), _table(storage, CHOICES_FILE, CHOICES)
    records = _failures_first(frames)
    where: dict[str, str] = {}
    embedded: list[tuple[str, Markup]] = []
    room = EMBEDDED_BYTES
    with_pictures = _with_pictures(records[:DETAILED_FRAMES], pictures)
    for details in _details(storage, out, records[:DETAILED_FRAMES], choices, with_pictures):
        frame, text = details["frame"], _json(details)
        if len(text) <= room:
            room -= len(text)
            embedded.append((frame, Markup(text)))
            where[frame] = ""
        else:
            path = f"{DETAILS_FOLDER}/{escape(frame)}.js"
            storage.write(path, f"qsweepDetails({text});\n".encode())
            where[frame] = quote(path)
    job = _job(storage, frames, choices, records, where)
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
    storage.write(REPORT_FILE, page.encode())
    stale = {file.path for file in storage.files(DETAILS_FOLDER)}
    for path in stale - {f"{DETAILS_FOLDER}/{escape(frame)}.js" for frame, href in where.items() if href}:
        storage.delete(path)
    return storage.describe(REPORT_FILE)


def _table(storage: Storage, path: str, schema: pa.Schema) -> pa.Table:
    """A table over all frames, empty while it has not been written; columns it had not yet are null."""
    if not storage.is_file(path):
        return schema.empty_table()
    table = read_table(storage, path)
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(schema.names)


def _failures_first(frames: pa.Table) -> data.Records:
    """Records of the frames that are listed."""
    rows: data.Records = frames.sort_by([("status", "descending")]).slice(0, LISTED_FRAMES).to_pylist()
    return rows


def _with_pictures(records: data.Records, n_frames: int | None) -> set[str]:
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
    storage: Storage, out: str, records: data.Records, choices: pa.Table, with_pictures: set[str]
) -> Iterator[dict[str, Any]]:
    """Of each frame of which there is anything to show, read a few at a time."""
    shown = [record for record in records if was_opened(record)]
    of_frames: dict[str, data.Records] = {record["frame"]: [] for record in shown}
    for choice in choices.to_pylist():
        if choice["frame"] in of_frames:
            of_frames[choice["frame"]].append(choice)
    for k in range(0, len(shown), _AT_A_TIME):
        yield from frame_details(storage, out, shown[k : k + _AT_A_TIME], of_frames, with_pictures)


def _job(
    storage: Storage, frames: pa.Table, choices: pa.Table, records: data.Records, where: Mapping[str, str]
) -> dict[str, Any]:
    """What the page shows of the whole job."""
    table = frames.to_pandas()
    done = table[table.status == "done"]
    timeline, replicas = (of_runs.to_pandas() for of_runs in read_timeline(storage))
    busy, available = (
        float(timeline[columns].to_numpy().sum())
        for columns in ([f"{stage}_seconds" for stage in STAGES], ["available_seconds"])
    )
    chosen = choices.to_pandas()
    content = _job_file(storage)
    n_frames = max(frames.num_rows, _n_frames(storage))
    figures = JOB_FIGURES | FRAME_FIGURES | MODULE_FIGURES
    return {
        "out": storage.describe(""),
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "created": str(content.get("created", "")),
        "running": is_running(storage),
        "frames": n_frames,
        "done": len(done),
        "failed": frames.num_rows - len(done),
        "means": _means(done),
        "busy_seconds": busy,
        "available_seconds": available,
        "edges": data.edges(chosen, content.get("job", {}).get("grid", {})),
        "configuration": _shortened(yaml.safe_dump(content, sort_keys=False, allow_unicode=True)),
        "list": _list(records, where),
        "figures": {name: figure() for name, figure in figures.items()},
        "data": {
            "chosen": data.chosen(chosen),
            "points": data.points(table),
            "stages": data.stages(timeline),
            "spans": data.spans(timeline),
        },
        "replicas": _replicas(replicas),
        "n_replicas": len(replicas),
    }


def _n_frames(storage: Storage) -> int:
    return int(read_table(storage, MANIFEST_FILE).num_rows) if storage.is_file(MANIFEST_FILE) else 0


def _job_file(storage: Storage) -> dict[str, Any]:
    try:
        content = parse_yaml(storage.read(JOB_FILE).decode())
    except (yaml.YAMLError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict):
        raise ResultsError(f"{storage.describe(JOB_FILE)}: damaged, or not of this program")
    return content


def _shortened(text: str) -> str:
    lines = text.splitlines()
    more = len(lines) - _CONFIGURATION_LINES
    return (
        text if more <= 0 else "\n".join([*lines[:_CONFIGURATION_LINES], f"… and {more} more lines, in {JOB_FILE}"])
    )


def _means(done: pd.DataFrame) -> dict[str, float | None]:
    """Over the frames that are done."""
    bpp = done.rate_latent_bpp + done.rate_nn_bpp
    means = {
        "bpp": bpp.mean(),
        "psnr_db": done.psnr_db.mean(),
        "networks": (done.rate_nn_bpp / bpp).mean(),
        "file_bpp": done.file_bpp.mean(),
        "seconds": done.seconds.mean(),
    }
    return {name: float(value) if math.isfinite(value) else None for name, value in means.items()}


_LISTED = (
    "frame",
    "status",
    "error",
    "width",
    "height",
    "lmbda",
    "loss",
    "psnr_db",
    "file_bytes",
    "seconds",
    "path",
)


def _list(records: data.Records, where: Mapping[str, str]) -> data.Columns:
    """Columns of the list of frames; ``details`` is where they are: empty for in the page, ``None`` for nowhere."""
    columns: data.Columns = {name: [record[name] for record in records] for name in _LISTED}
    for name, of in (("bpp", _bpp), ("networks", _networks)):
        columns[name] = [of(record) if record["status"] == "done" else None for record in records]
    columns["details"] = [where.get(record["frame"]) for record in records]
    for name in ("loss", "psnr_db"):
        columns[name] = [None if value is None or not math.isfinite(value) else value for value in columns[name]]
    return columns


def _bpp(record: Mapping[str, Any]) -> float:
    return float(record["rate_latent_bpp"] + record["rate_nn_bpp"])


def _networks(record: Mapping[str, Any]) -> float:
    return float(record["rate_nn_bpp"] / bpp) if (bpp := _bpp(record)) else 0.0


def _replicas(replicas: pd.DataFrame) -> data.Records:
    """The replicas that were busy for the least share of their time, as records."""
    share = replicas.busy_seconds / replicas.seconds.where(replicas.seconds > 0)
    rows: list[dict[Any, Any]] = (
        replicas.assign(share=share.fillna(0.0)).sort_values("share").head(_LISTED_REPLICAS).to_dict("records")
    )
    return rows


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
