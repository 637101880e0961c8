"""Frame files: pictures and planar samples, read wherever they are, and written."""

from dataclasses import replace
from pathlib import Path

import torch

from workers.codec.frame import Frame
from workers.codec.picture_file import parse_picture
from workers.codec.sample_file import dump_samples
from workers.codec.yuv_file import YuvLayout, is_yuv
from workers.errors import FrameFileError
from workers.files import (
    PATIENCE_SECONDS,
    Fingerprint,
    describe,
    digest_of,
    file_size,
    file_stamp,
    read_bytes,
    read_part,
)
from workers.reasons import reason_of


def read_frame(location: str | Path, frame_index: int | None = None) -> Frame:
    """Read a frame file, at a path or URI.

    Args:
        location: of the file.
        frame_index: display index of the frame in a file of several, from 0.

    Raises:
        FrameFileError: it cannot be read, or :func:`parse_frame` cannot use it.
    """
    try:
        return load_frame(location, frame_index)
    except (OSError, ValueError) as error:
        raise FrameFileError(f"{describe(str(location))}: the frame cannot be read: {reason_of(error)}") from None


def load_frame(location: str | Path, frame_index: int | None = None, patience: float = PATIENCE_SECONDS) -> Frame:
    """Read a frame file; like :func:`read_frame`, with the errors of reading as they are.

    Of a ``.yuv`` file the frame alone is read: one of a thousand frames has gigabytes.

    Args:
        location: of the file.
        frame_index: see :func:`read_frame`.
        patience: see :func:`workers.files.read_bytes`.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no file system of this kind.
        FrameFileError: :func:`parse_frame` cannot use it.
    """
    name = describe(str(location))
    stamp = file_stamp(location, patience)  # before it is read: a file that is replaced meanwhile has another one
    content, layout = _read_content(location, frame_index, patience)
    frame = parse_frame(content, name, frame_index) if layout is None else layout.parse(content)
    return replace(frame, file=Fingerprint(stamp, digest_of(content)))


def read_frame_digest(location: str | Path, frame_index: int | None = None) -> str:
    """Digest of the content of a frame file, as :func:`read_frame` gives it with the frame.

    Raises:
        FrameFileError: it cannot be read.
    """
    try:
        return digest_of(_read_content(location, frame_index, PATIENCE_SECONDS)[0])
    except (OSError, ValueError) as error:
        raise FrameFileError(f"{describe(str(location))}: the frame cannot be read: {reason_of(error)}") from None


def _read_content(location: str | Path, frame_index: int | None, patience: float) -> tuple[bytes, YuvLayout | None]:
    """All bytes of a picture; of a ``.yuv`` file those of the frame that is meant, and their layout."""
    name = describe(str(location))
    if not is_yuv(name):
        return read_bytes(location, patience), None
    layout, start = _find_yuv(file_size(location, patience), name, frame_index)
    return read_part(location, start, layout.frame_bytes, patience), layout


def parse_frame(content: bytes, name: str, frame_index: int | None = None) -> Frame:
    """Frame of a file's bytes.

    Args:
        content: a picture of a format in :data:`~workers.codec.picture_header.ACCEPTED`; or, where the name ends
            in ``.yuv``, planar samples, 16-bit little-endian words for more than 8 bits.
        name: the file's name; a ``.yuv`` file is named ``<name>_<W>x<H>_<fps>p_yuv<420|444>_<8…16>b.yuv``.
        frame_index: display index of the frame in a file of several, from 0.

    Raises:
        FrameFileError: the file is empty, truncated, no picture, of a kind that is not supported, or holds several
            frames of which none is chosen.
    """
    if not content:
        raise FrameFileError(f"{name}: the frame file is empty")
    if not is_yuv(name):
        return parse_picture(content, name, frame_index)
    layout, start = _find_yuv(len(content), name, frame_index)
    return layout.parse(content[start : start + layout.frame_bytes])


def check_yuv(location: str, frame_index: int | None) -> None:
    """Check, without reading it, that a ``.yuv`` file on this machine holds the frame that is meant.

    Raises:
        FrameIndexError: it does not, or it holds several and none is chosen.
        FrameFileError: its name or its size is wrong.
        OSError: there is no such file.
    """
    _find_yuv(file_size(location), location, frame_index)


def dump_frame(frame: Frame, name: str) -> bytes:
    """Bytes of a frame's file, which :func:`parse_frame` reads again.

    Args:
        frame: rgb for ``.ppm`` and, of 8 bits, ``.png``; yuv for ``.yuv``, which is written as planar samples.
        name: of the file, whose suffix chooses its format.

    Raises:
        FrameFileError: the suffix is none for the frame's format.
    """
    maximum = 2**frame.bitdepth - 1
    planes = [torch.round(plane * maximum).cpu().numpy()[0] for plane in frame.data.tensors]  # [C, h, w] each
    return dump_samples(planes, frame.frame_data_type, frame.bitdepth, name)


def _find_yuv(size: int, name: str, frame_index: int | None) -> tuple[YuvLayout, int]:
    """Layout of a ``.yuv`` file of this many bytes, and where the frame that is meant begins."""
    if not size:
        raise FrameFileError(f"{name}: the frame file is empty")
    layout = YuvLayout.of(name, size)
    return layout, layout.locate(frame_index, size)
