"""Whose a folder of results is: the job that it says it holds, beside the one that is to go on there."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING

import yaml

from sweep.config import FrameList, parse_yaml
from sweep.results.claim import CLAIM_FILE
from sweep.results.layout import JOB_FILE, MANIFEST_FILE
from sweep.results.parquet import read_table, write_table
from sweep.results.storage import Storage
from workers.errors import DamagedError, ResultsError

if TYPE_CHECKING:
    from sweep.config import Job

_log = logging.getLogger(__name__)

_SHOWN_DIFFERENCES, _SHOWN_CHARACTERS = 4, 60


def begin(storage: Storage, job: Job) -> None:
    """Refuse a folder of something else; begin one that is empty.

    Args:
        storage: the folder.
        job: whose it is to be.

    Raises:
        ResultsError: it cannot be written, or it holds another job's results or something else.
    """
    if storage.is_file(JOB_FILE) and not _is_blank(storage):
        _compare(storage, job)
        _complete(storage, job)
        return
    if not storage.is_empty() and not storage.is_file(JOB_FILE):
        raise ResultsError(
            f"{storage.describe('')}: is not empty, and what it holds is not of this program "
            f"({JOB_FILE} is missing)"
        )
    content = {
        "job": job.identity(),
        "configuration": job.config.described(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("qsweep", "torch", "ray", "pyarrow", "pandas", "numpy")},
        },
    }
    storage.write(JOB_FILE, yaml.safe_dump(content, sort_keys=False).encode())
    write_table(storage, MANIFEST_FILE, job.frames.described().table)


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


def _complete(storage: Storage, job: Job) -> None:
    """Write the list of frames where it is missing or was cut off: the job was killed at its beginning."""
    if storage.is_file(MANIFEST_FILE):
        try:
            read_table(storage, MANIFEST_FILE)
            return
        except DamagedError:
            where = storage.describe(MANIFEST_FILE)
            aside = storage.describe(storage.set_aside(MANIFEST_FILE))
            _log.warning("%s: damaged; it is written again, what was there is kept as %s", where, aside)
    write_table(storage, MANIFEST_FILE, job.frames.described().table)


def _compare(storage: Storage, job: Job) -> None:
    identity = job.identity()
    try:
        before = parse_yaml(storage.read(JOB_FILE).decode())["job"]
        same = all(before.get(key) == identity.get(key) for key in {*before, *identity})
    except (AttributeError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise DamagedError(f"{storage.describe(JOB_FILE)}: damaged, or not of this program") from None
    if same:
        return
    same_frames = before.pop("frames", None) == identity.pop("frames")
    different = [] if same_frames else [*_different_frames(storage, job.frames.described())]
    different += _differences(before, identity)
    more = len(different) - _SHOWN_DIFFERENCES
    shown = different[:_SHOWN_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
    raise ResultsError(
        f"{storage.describe('')}: holds the results of another job ({'; '.join(shown)}); "
        "choose another folder with --out, or remove this one"
    )


def _different_frames(storage: Storage, now: FrameList) -> Iterable[str]:
    before = FrameList(read_table(storage, MANIFEST_FILE))
    if len(before) != len(now):
        return [f"frames: {len(before)} there, {len(now)} here"]
    pairs = enumerate(zip(before, now, strict=True))
    index, (one, other) = next((index, pair) for index, pair in pairs if pair[0] != pair[1])
    return _differences(one._asdict(), other._asdict(), f"frame {index}")


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
