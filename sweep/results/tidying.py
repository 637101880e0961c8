"""Files that a job finds when it begins or resumes, and cannot use: deleted, or set aside."""

import logging
from concurrent.futures import ThreadPoolExecutor

from sweep.results.finished import GARBLED, Finished
from sweep.results.layout import fitted_path, refining_path, trials_path
from sweep.results.rows import rd_path, unfinish
from sweep.results.storage import Storage
from workers.errors import DamagedError

_log = logging.getLogger(__name__)

_WRITERS = 16  # files that are written at a time


def tidy(storage: Storage, found: Finished) -> None:
    """Delete what a driver that was killed at the wrong moment has left, so that no row is there twice.

    What is damaged is set aside: it is made again. So are frames whose inputs have changed.

    Args:
        storage: the folder of the results, which this driver has claimed.
        found: what is finished there; what is deleted is removed from it.

    Raises:
        ResultsError: the folder cannot be changed.
    """
    for path, damage in sorted(found.damaged.items()):
        set_aside(storage, path, damage)
    for frame, change in found.changed.items():
        forget(storage, found, frame, change)
    for frame in sorted(found.done):
        delete_rows(storage, frame, "failed", found.failed)
        delete_rows(storage, frame, "swept", found.swept)
    for frame in found.failures:
        delete_rows(storage, frame, "swept", found.swept)
    _unfinish(storage, found)


def _unfinish(storage: Storage, found: Finished) -> None:
    """Take frames that were done, but refined in another way, back to the end of their sweep."""

    def attempt(frame: str) -> str | None:
        try:
            unfinish(storage, frame)
        except DamagedError:
            return frame
        found.swept.add(frame)
        return None

    frames = sorted(found.unrefined)
    if frames:
        _log.info("%d frames are refined in another way now; what was measured of them is kept", len(frames))
    with ThreadPoolExecutor(_WRITERS) as writers:
        for damaged in filter(None, writers.map(attempt, frames)):
            set_aside(storage, rd_path(damaged), GARBLED)


def forget(storage: Storage, found: Finished, frame: str, change: str) -> None:
    """Delete what was made of other inputs than the frame has now."""
    _log.warning("frame %s: %s since its results were made; it is done again", frame, change)
    of_rows = (rd_path(frame, status) for status in ("done", "failed", "swept"))
    for path in (*of_rows, fitted_path(frame), refining_path(frame), trials_path(frame)):
        if storage.is_file(path):
            storage.delete(path)
    for group in (found.fitted, found.failed, found.swept):
        group.discard(frame)
    found.failures.pop(frame, None)


def set_aside(storage: Storage, path: str, damage: str) -> None:
    """Move a damaged file where it is kept, and log that it is made again."""
    where = storage.describe(path)
    if not storage.is_file(path):
        _log.warning("%s: %s; it is made again", where, damage)
        return
    aside = storage.describe(storage.set_aside(path))
    _log.warning("%s: %s; it is made again, the damaged file is kept as %s", where, damage, aside)


def delete_rows(storage: Storage, frame: str, status: str, frames: set[str]) -> None:
    """Delete rows of an earlier status of a frame, if it has any."""
    if frame in frames:
        storage.delete(rd_path(frame, status))
        frames.discard(frame)
