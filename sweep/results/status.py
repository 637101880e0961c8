"""How far a job is, by its results alone: on any machine that can read them, wherever the job runs."""

import time
from collections.abc import Container, Mapping
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from sweep.results.claim import EXPIRY_SECONDS, Owner, read_owner
from sweep.results.layout import FITTED_FOLDER, FRAMES_FILE, RD_FOLDER
from sweep.results.manifest import job_frames, left_out
from sweep.results.parquet import read_table
from sweep.results.refining import refining_frames
from sweep.results.rows import current, frame_folder, rd_path
from sweep.results.storage import Storage
from sweep.results.swept import open_job
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
    storage = open_job(out)
    manifest = job_frames(storage)
    n_frames = manifest.num_rows
    others = {frame_folder(frame) for frame in left_out(storage)}
    files = [
        file
        for file in storage.files(RD_FOLDER)
        if file.size != 0  # as a power failure leaves them
        and file.path.rpartition("/")[0] not in others
    ]
    statuses = current(file.path for file in files)
    n_done, n_failed, n_swept = (list(statuses.values()).count(status) for status in ("done", "failed", "swept"))
    lines = [f"{storage.describe('')}: {n_done} of {n_frames} frames done, {n_failed} failed"]
    if n_swept:
        lines[0] += f"; {n_swept} swept"
        n_refining = sum(rd_path(frame, "swept") in statuses for frame in refining_frames(storage))
        lines[0] += f", {n_refining} of them partly refined" if n_refining else ""
    if n_fitted := len(storage.files(FITTED_FOLDER)):
        lines[0] += f"; {n_fitted} fitted"
    left = n_frames - n_done - n_failed
    owner = read_owner(storage)
    ago = 0.0 if owner is None else time.time() - owner.renewed
    if owner is not None and _is_alive(owner):
        running = f"running: {owner}"
        written = {file.path: file.seconds for file in files}
        done = {path.rpartition("/")[0]: written[path] for path, status in statuses.items() if status == "done"}
        ended = {path.rpartition("/")[0] for path, status in statuses.items() if status != "swept"}
        seconds = _seconds_left(manifest, done, ended)
        lines.append(running if seconds is None else f"{running}; about {timedelta(seconds=round(seconds))} left")
    elif left or n_failed:
        last = "" if owner is None else f" ({owner}: no sign of life for {timedelta(seconds=round(ago))})"
        lines.append(f"not running{last}; the same command resumes it")
    failed = {path.rpartition("/")[0] for path, status in statuses.items() if status == "failed"}
    return "\n".join(map(printable, [*lines, *_failures(storage, failed)]))


def _seconds_left(manifest: pa.Table, done: Mapping[str, float], ended: Container[str]) -> float | None:
    """Estimate of the time left, from the pace of the last frames that are done.

    A frame that is fitted takes far longer than one that has an encoder: while some are still to be fitted, the
    pace of those that were fitted counts. Frames that failed do not count: most of them take no time.

    Args:
        manifest: all frames.
        done: when each frame that is done was written, in seconds since the epoch, by the folder of its rows.
        ended: folders of the frames that are done or have failed.

    Returns:
        Seconds; ``None`` if nothing is left, or the pace is not known yet.
    """
    folders = [rd_path(frame).rpartition("/")[0] for frame in manifest["id"].to_pylist()]
    fitted = {
        folder
        for folder, given in zip(folders, manifest["encoder"].is_valid().to_pylist(), strict=True)
        if not given
    }
    left = [folder for folder in folders if folder not in ended]
    to_fit = sum(folder in fitted for folder in left)
    times = sorted(seconds for folder, seconds in done.items() if not to_fit or folder in fitted)[-_RECENT_FRAMES:]
    if not left or len(times) < 2 or times[-1] == times[0]:
        return None
    return (to_fit or len(left)) * (times[-1] - times[0]) / (len(times) - 1)


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
