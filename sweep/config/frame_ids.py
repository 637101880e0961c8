"""Ids of frames: what their rows, files and folders are called, unique within a job and never changed.

A frame is called after the stem of its file, with ``-<frame_index>`` in four digits where that is given, and with
``@<lmbda>`` where its weight of the rate is one of a list. Names that collide get ``-<n>``, from 1 on. A frame that
joins a job later leaves the ids that are there as they are: it takes the next free number or, where it is a frame
of the job at another weight of the rate, ``@<lmbda>``.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from sweep.config.paths import escape
from workers.errors import ConfigError
from workers.files import describe

MAX_NAME_BYTES = 255
"""Of a file or a folder, on most file systems."""


class Named(Protocol):
    """What an id is made of; see :class:`~sweep.config.frames.FrameItem`."""

    @property
    def frame(self) -> str:
        """Path or URI of its file."""

    @property
    def lmbda(self) -> float | None:
        """Weight of the rate."""

    @property
    def frame_index(self) -> int | None:
        """Display index in a file of several frames."""

    @property
    def of_list(self) -> bool:
        """Whether ``lmbda`` is one of a list."""


def new_ids(frames: Sequence[Named]) -> list[str]:
    """Ids of the frames of a new job.

    Raises:
        ConfigError: one is too long for the name of a file.
    """
    return added_ids(frames, (), ())


def added_ids(frames: Sequence[Named], taken: Collection[str], pictures: Collection[str]) -> list[str]:
    """Ids of frames that join a job.

    Args:
        frames: the new ones.
        taken: ids that are given already.
        pictures: names, without number and weight, of pictures that these ids stand for at another weight.

    Raises:
        ConfigError: one is too long for the name of a file.
    """
    taken = set(taken)
    wanted = []
    for frame in frames:
        name = name_of(frame)
        if not frame.of_list and frame.lmbda is not None and name in taken and name in pictures:
            name = _at(name, frame.lmbda)
        wanted.append(name)
    return [_checked(name) for name in _unique(wanted, taken)]


def name_of(frame: Named) -> str:
    """What a frame is called, if no other one is."""
    name = stem_of(frame.frame)
    if frame.frame_index is not None:
        name = f"{name}-{frame.frame_index:04d}"
    return _at(name, frame.lmbda) if frame.of_list and frame.lmbda is not None else name


def stem_of(location: str) -> str:
    """Stem of a file, by its path or URI."""
    return Path(describe(location)).stem


def _at(name: str, lmbda: float) -> str:
    return f"{name}@{repr(lmbda).removesuffix('.0')}"


def _unique(wanted: Sequence[str], taken: set[str]) -> Iterable[str]:
    """The names, those that collide numbered from 1 on, around what is taken."""
    times = Counter(wanted)
    singles = {name for name, n in times.items() if n == 1}
    next_number = dict.fromkeys(times, 1)
    given = set[str]()
    for name in wanted:
        chosen = name
        if times[name] > 1 or name in taken:
            while (chosen := f"{name}-{next_number[name]}") in taken or chosen in singles or chosen in given:
                next_number[name] += 1
            given.add(chosen)
        yield chosen


def _checked(frame_id: str) -> str:
    """The id itself, if files and folders can be called after it."""
    for name in (f"frame={escape(frame_id)}", f"{frame_id}.safetensors"):
        if len(name.encode()) > MAX_NAME_BYTES:
            raise ConfigError(
                f"frames: the name of a frame is too long for its results: {name[:60]!r}… has {len(name.encode())} "
                f"bytes; accepted: {MAX_NAME_BYTES} at most"
            )
    return frame_id
