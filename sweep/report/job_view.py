"""What there is to see of a whole job: its frames, what was chosen, where the time went."""

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from sweep.config import parse_yaml
from sweep.report import job_data, refinement_data
from sweep.report.figures import FIGURES, figure_spec
from sweep.report.terms import Columns, Records
from sweep.results import JOB_FILE, MANIFEST_FILE, Storage, is_running, job_frames, read_timeline, stages_of
from workers.errors import ResultsError

_LISTED_REPLICAS, _CONFIGURATION_LINES = 100, 1000

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


def job_view(
    storage: Storage,
    frames: pa.Table,
    choices: pa.Table,
    refined: pa.Table,
    records: Records,
    where: Mapping[str, str],
) -> dict[str, Any]:
    """What the page shows of a whole job, ready for JSON.

    Args:
        storage: its results.
        frames: as in ``frames.parquet``.
        choices: as in ``choices.parquet``.
        refined: as in ``refined.parquet``.
        records: of the frames that are listed.
        where: of some of these, where their details are: empty for in the page.
    """
    table = frames.to_pandas()
    done = table[table.status == "done"]
    timeline, replicas = (of_runs.to_pandas() for of_runs in read_timeline(storage))
    busy, available = (
        float(timeline[columns].to_numpy().sum())
        for columns in ([f"{stage}_seconds" for stage in stages_of(timeline.columns)], ["available_seconds"])
    )
    chosen = choices.to_pandas()
    content = _job_file(storage)
    n_frames = max(frames.num_rows, _n_frames(storage))
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
        "edges": job_data.edges(
            chosen, dict(zip(table.frame, table.family, strict=True)), content.get("job", {}).get("grid") or {}
        ),
        "configuration": _shortened(yaml.safe_dump(content, sort_keys=False, allow_unicode=True)),
        "list": _list(records, where),
        "figures": {name: figure_spec(name) for name in FIGURES},
        "data": {
            "chosen": job_data.chosen(chosen),
            "points": job_data.points(table),
            "stages": job_data.stages(timeline),
            "spans": job_data.spans(timeline),
        },
        "refined": refinement_data.of_job(refined.to_pandas(), chosen),
        "replicas": _replicas(replicas),
        "n_replicas": len(replicas),
    }


def _n_frames(storage: Storage) -> int:
    return int(job_frames(storage).num_rows) if storage.is_file(MANIFEST_FILE) else 0


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


def _list(records: Records, where: Mapping[str, str]) -> Columns:
    """Columns of the list of frames; ``details`` is where they are: empty for in the page, ``None`` for nowhere."""
    columns: Columns = {name: [record[name] for record in records] for name in _LISTED}
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


def _replicas(replicas: pd.DataFrame) -> Records:
    """The replicas that were busy for the least share of their time, as records."""
    share = replicas.busy_seconds / replicas.seconds.where(replicas.seconds > 0)
    rows: list[dict[Any, Any]] = (
        replicas.assign(share=share.fillna(0.0)).sort_values("share").head(_LISTED_REPLICAS).to_dict("records")
    )
    return rows
