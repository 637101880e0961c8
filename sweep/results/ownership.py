"""Ownership of a folder of results: the job in its ``job.yaml``, compared with the job that is to run."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml

from sweep.config import FrameItem, FrameList, parse_yaml
from sweep.results.changes import frame_digest
from sweep.results.claim import CLAIM_FILE
from sweep.results.known_frames import manifest_table, with_known_ids
from sweep.results.layout import JOB_FILE, MANIFEST_FILE
from sweep.results.manifest import read_manifest_table
from sweep.results.parquet import FORMAT, write_table
from sweep.results.storage import Storage
from sweep.results.table import FRAMES
from workers.errors import DamagedError, FrameFileError, ResultsError

if TYPE_CHECKING:
    from sweep.config import Job

_log = logging.getLogger(__name__)

_OF_SOME = ("fit", "lmbda")
"""Parts of a job's identity that only some frames depend on: those that are fitted, and those whose encoder's
file holds no weight of the rate."""

_SHOWN_DIFFERENCES, _SHOWN_CHARACTERS = 4, 60


def begin(storage: Storage, job: Job) -> FrameList:
    """Refuse a folder of something else; begin one that is empty.

    Args:
        storage: the folder.
        job: whose it is to be.

    Returns:
        The frames of the job, with the ids that the folder has for them.

    Raises:
        ResultsError: it cannot be written, or it holds another job's results or something else.
    """
    if storage.is_file(JOB_FILE) and not _is_blank(storage):
        _compare(_read(storage), job, storage)
        manifest = _read_manifest(storage)
        if manifest is not None:
            return with_known_ids(job.frames, manifest, _digest)
        write_table(storage, MANIFEST_FILE, manifest_table(job.frames, None, FRAMES.empty_table()))
        return job.frames
    if not storage.is_empty() and not storage.is_file(JOB_FILE):
        raise ResultsError(
            f"{storage.describe('')}: is not empty, and what it holds is not of this program "
            f"({JOB_FILE} is missing)"
        )
    _write(storage, {"created": datetime.now(timezone.utc).isoformat(timespec="seconds")}, job)
    write_table(storage, MANIFEST_FILE, manifest_table(job.frames, None, FRAMES.empty_table()))
    return job.frames


def update(storage: Storage, job: Job, frames: FrameList, records: pa.Table) -> None:
    """Write down a job that has resumed with other frames, and what the results of its frames were made of.

    Args:
        storage: its folder, which this driver has claimed.
        job: as it is configured now.
        frames: with their ids.
        records: of its frames, as in ``frames.parquet``.

    Raises:
        ResultsError: it cannot be written.
    """
    before = _read(storage)
    identity = _identity(job, before)
    if (before["job"], before.get("configuration")) != (identity, job.config.described()):
        _write(storage, before, job)
    manifest = _read_manifest(storage)
    now = manifest_table(frames, manifest, records)
    if manifest is None or not now.equals(manifest):
        write_table(storage, MANIFEST_FILE, now)


def _write(storage: Storage, before: Mapping[str, Any], job: Job) -> None:
    content = {
        "format": FORMAT,
        "job": _identity(job, before),
        "configuration": job.config.described(),
        "created": before["created"],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("qsweep", "torch", "ray", "pyarrow", "pandas", "numpy")},
        },
    }
    storage.write(JOB_FILE, yaml.safe_dump(content, sort_keys=False).encode())


def _identity(job: Job, before: Mapping[str, Any]) -> dict[str, Any]:
    """What all results depend on; what concerns only some frames is kept from before, where there are none now."""
    earlier = before.get("job", {})
    return {
        key: earlier.get(key) if key in _OF_SOME and value is None else value
        for key, value in job.identity().items()
    }


def _digest(item: FrameItem) -> str | None:
    try:
        return frame_digest(item)
    except FrameFileError:
        return None


def _is_blank(storage: Storage) -> bool:
    """Whether a power failure has left the description of the job empty, right at the job's beginning.

    Raises:
        ResultsError: it has, but there are results already: whose they are cannot be told.
    """
    if storage.read(JOB_FILE).strip(b"\0"):
        return False
    if {file.path for file in storage.files("")} <= {JOB_FILE, MANIFEST_FILE, CLAIM_FILE}:
        return True
    raise DamagedError(
        f"{storage.describe(JOB_FILE)}: damaged, or not of this program: it is empty, so that what is beside it "
        "could be the results of another job; choose another folder with --out, or restore this file"
    )


def _read_manifest(storage: Storage) -> pa.Table | None:
    """The manifest; ``None`` where it is missing or was cut off: the job was killed at its beginning."""
    if not storage.is_file(MANIFEST_FILE):
        return None
    try:
        return read_manifest_table(storage)
    except DamagedError:
        where = storage.describe(MANIFEST_FILE)
        aside = storage.describe(storage.set_aside(MANIFEST_FILE))
        _log.warning("%s: damaged; it is written again, what was there is kept as %s", where, aside)
        return None


def _read(storage: Storage) -> dict[str, Any]:
    """What is written down of a job.

    Raises:
        DamagedError: it is damaged.
        ResultsError: an earlier version wrote it, or a later one.
    """
    where = storage.describe(JOB_FILE)
    try:
        content: dict[str, Any] = parse_yaml(storage.read(JOB_FILE).decode())
        job, written = dict(content["job"].items()), content.get("format", 1)
        content["created"] = str(content.get("created", ""))
    except (AttributeError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        raise DamagedError(f"{where}: damaged, or not of this program") from None
    if written == 1:
        raise ResultsError(
            f"{where}: the job was begun by version 0.1.0, whose results can be read but not continued; choose "
            "another folder with --out"
        )
    if written != FORMAT:
        raise ResultsError(
            f"{where}: the job was begun by a later version (format {written}; known: {FORMAT}); continue it with "
            "that version, or choose another folder with --out"
        )
    return content | {"job": job}


def _compare(content: Mapping[str, Any], job: Job, storage: Storage) -> None:
    before, now = dict(content["job"]), _identity(job, content)
    for key in _OF_SOME:
        if before.get(key) is None:  # nothing there depended on it
            before[key] = now[key]
    different = list(_differences(before, now))
    if not different:
        return
    more = len(different) - _SHOWN_DIFFERENCES
    shown = different[:_SHOWN_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
    raise ResultsError(
        f"{storage.describe('')}: holds the results of another job ({'; '.join(shown)}); "
        "choose another folder with --out, or remove this one"
    )


def _differences(before: object, now: object, key: str = "") -> Iterable[str]:
    """What differs between two descriptions of a job: a text each."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    elif before != now:
        yield f"{key}: {_short(before)} there, {_short(now)} here"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
