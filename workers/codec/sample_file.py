"""Samples as the files that pictures are written to; without torch."""

import io
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.codec.netpbm import write_ppm
from workers.errors import FrameFileError


def dump_samples(planes: Sequence[npt.NDArray[Any]], frame_data_type: str, bitdepth: int, name: str) -> bytes:
    """Bytes of a frame's file.

    Args:
        planes: whole numbers ``[C, h, w]`` each: red, green, blue for ``.ppm`` and, of 8 bits, ``.png``; y, u and
            v for ``.yuv``, which is written plane after plane, in 16-bit little-endian words for more than 8 bits.
        frame_data_type: ``rgb``, ``yuv420`` or ``yuv444``.
        bitdepth: bits of a sample.
        name: of the file, whose suffix chooses its format.

    Raises:
        FrameFileError: the suffix is none for the frame's format.
    """
    suffix = check_suffix(frame_data_type, bitdepth, name)
    if suffix == ".yuv":
        return b"".join(plane.astype("u1" if bitdepth == 8 else "<u2").tobytes() for plane in planes)
    samples = np.concatenate(planes).transpose(1, 2, 0)
    if suffix == ".ppm":
        return write_ppm(samples, bitdepth)
    from PIL import Image  # only here: it takes a while to load

    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(samples, np.uint8)).save(sink, "PNG")
    return sink.getvalue()


def suffixes_of(frame_data_type: str, bitdepth: int) -> list[str]:
    """Suffixes of the files that a frame of some format can be written to."""
    if frame_data_type != "rgb":
        return [".yuv"]
    return [".png", ".ppm"] if bitdepth == 8 else [".ppm"]


def check_suffix(frame_data_type: str, bitdepth: int, name: str) -> str:
    """Suffix of the file of a frame of some format, which the name must have.

    Raises:
        FrameFileError: it has another one.
    """
    suffixes = suffixes_of(frame_data_type, bitdepth)
    suffix = PurePath(name).suffix.lower()
    if suffix not in suffixes:
        depth = "" if bitdepth == 8 else f" of {bitdepth} bits"
        accepted = " or ".join(suffixes)
        raise FrameFileError(f"{name}: a frame of format {frame_data_type}{depth} is written as {accepted}")
    return suffix
