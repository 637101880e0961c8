"""Whether the results of a frame are still those of its files, when a job resumes."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from sweep.config import FrameItem
from workers.candidates import ARITHMETIC
from workers.errors import FrameFileError
from workers.files import digest_of, file_stamp, read_bytes

_LOOKS = 16  # files that are looked at at a time
_PATIENCE_SECONDS = 20.0  # for a store: what cannot be looked at is taken for unchanged


def find_changes(frames: Iterable[tuple[FrameItem, Mapping[str, Any]]]) -> dict[str, str]:
    """Frames whose results are of other inputs than they have now.

    A file that cannot be read is taken for unchanged: results stay whole without the pictures that they are of.

    Args:
        frames: each with what its results were made of, see :data:`~sweep.results.table.IDENTITY`.

    Returns:
        By id, what has changed, as a part of a sentence.
    """
    with ThreadPoolExecutor(_LOOKS) as looks:
        found = looks.map(lambda frame: (frame[0].id, _change(*frame)), frames)
        return {frame: change for frame, change in found if change is not None}


def _change(item: FrameItem, before: Mapping[str, Any]) -> str | None:
    if before["frame_digest"] is None:  # of a frame without a file
        return None
    if before["arithmetic"] != ARITHMETIC:
        return f"it was measured by version {before['arithmetic']} of the arithmetic, which is {ARITHMETIC} now"
    if picture_has_changed(item, before["frame_digest"], before["frame_stamp"]):
        return "its picture has changed"
    if (item.encoder is None) != (before["encoder_digest"] is None):
        return "it has no encoder any more" if item.encoder is None else "it has an encoder now"
    if before.get("encoder_frame", item.encoder_frame) != item.encoder_frame:
        return "another encoder_frame is chosen"
    if item.encoder is not None:
        read = partial(_encoder_digest, item.encoder)
        if _is_other(item.encoder, before["encoder_stamp"], before["encoder_digest"], read):
            return "its encoder has changed"
    return None


def picture_has_changed(item: FrameItem, digest: str, stamp: str | None = None) -> bool:
    """Whether the file of a frame has another content than the one with this digest and, if known, this stamp."""
    return _is_other(item.frame, stamp, digest, partial(frame_digest, item))


def frame_digest(item: FrameItem) -> str:
    """Digest of the content of a frame's file.

    Raises:
        FrameFileError: it cannot be read.
    """
    from workers.codec import read_frame_digest  # loads torch: only where the stamps differ

    return read_frame_digest(item.frame, item.frame_index)


def _encoder_digest(location: str) -> str:
    return digest_of(read_bytes(location, _PATIENCE_SECONDS))


def _is_other(location: str, stamp: str | None, digest: str, read: Callable[[], str]) -> bool:
    try:
        if stamp is not None and file_stamp(location, _PATIENCE_SECONDS) == stamp:
            return False
        return read() != digest
    except (FrameFileError, OSError, ValueError):
        return False
