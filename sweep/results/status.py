"""How far a job is, told from its results alone: whoever can read them can ask, wherever the job runs."""

import time
from collections.abc import Container
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from sweep.results.claim import EXPIRY_SECONDS, Owner, read_owner
from sweep.results.layout import FITTED_FOLDER, FRAMES_FILE
from sweep.results.ownership import JOB_FILE, MANIFEST_FILE
from sweep.results.parquet import read_table
from sweep.results.rows import RD_FOLDER, current, rd_path
from sweep.results.storage import Storage
from workers.errors import ResultsError
from workers.reasons import printable

_RECENT_FRAMES = 100
"""Frames, the last ones that ended, from which the time left is estimated."""

_SHOWN_FAILURES = 10


def read_status(out: str) -> str:
    """What can be said of a job.

    Args:
        out: folder or URI of its results.

    Returns:
        A few lines: frames that are done, have failed and are left; who works on them; the time left; reasons.

    Raises:
        ResultsError: there are no results of a job, or they cannot be read.
    """
    storage = Storage(out)
    if not storage.is_file(JOB_FILE):
        raise ResultsError(f"{storage.describe('')}: there are no results of a job ({JOB_FILE} is missing)")
    n_frames = read_table(storage, MANIFEST_FILE).num_rows
    files = [file for file in storage.files(RD_FOLDER) if file.size != 0]  # as a power failure leaves them
    statuses = current(file.path for file in files)
    ended = sorted(file.seconds for file in files if statuses.get(file.path) in ("done", "failed"))
    n_done, n_failed, n_swept = (list(statuses.values()).count(status) for status in ("done", "failed", "swept"))
    lines = [f"{storage.describe('')}: {n_done} of {n_frames} frames done, {n_failed} failed"]
    if n_swept:
        lines[0] += f"; {n_swept} swept"
    if n_fitted := len(storage.files(FITTED_FOLDER)):
        lines[0] += f"; {n_fitted} fitted"
    left = n_frames - n_done - n_failed
    owner = read_owner(storage)
    ago = 0.0 if owner is None else time.time() - owner.renewed
    if owner is not None and _is_alive(owner):
        running = f"running: {owner}"
        recent = ended[-_RECENT_FRAMES:]
        if left and len(recent) > 1 and recent[-1] > recent[0]:
            seconds = left * (recent[-1] - recent[0]) / (len(recent) - 1)
            running += f"; about {timedelta(seconds=round(seconds))} left"
        lines.append(running)
    elif left or n_failed:
        last = "" if owner is None else f" ({owner}: no sign of life for {timedelta(seconds=round(ago))})"
        lines.append(f"not running{last}; the same command goes on with what is left")
    failed = {path.rpartition("/")[0] for path, status in statuses.items() if status == "failed"}
    return "\n".join(map(printable, [*lines, *_failures(storage, failed)]))


def is_running(storage: Storage) -> bool:
    """Whether a driver is at work on a job, by its last sign of life."""
    owner = read_owner(storage)
    return owner is not None and _is_alive(owner)


def _is_alive(owner: Owner) -> bool:
    return not owner.is_dead() and time.time() - owner.renewed < EXPIRY_SECONDS


def _failures(storage: Storage, folders: Container[str]) -> list[str]:
    """Why frames have failed that have these folders, as far as the table that is written every so often knows."""
    if not storage.is_file(FRAMES_FILE):
        return []
    table = read_table(storage, FRAMES_FILE)
    names = table.filter(pc.field("status") == "failed")["frame"].to_pylist()
    still = [name for name in names if rd_path(name).rpartition("/")[0] in folders]
    failed = table.filter(pc.field("frame").isin(pa.array(still, pa.string())))
    lines = [f"{row['frame']} failed: {row['error']}" for row in failed.slice(0, _SHOWN_FAILURES).to_pylist()]
    more = failed.num_rows - len(lines)
    return [*lines, f"and {more} more, in {FRAMES_FILE}"] if more else lines
