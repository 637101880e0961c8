"""What files cost and are worth: bitstreams of this codec, and pictures of others as Pillow writes them."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from workers.bitstream import MAX_PIXELS
from workers.bitstream.decoded_picture import frame_of
from workers.bitstream.formats import DEFAULT_FORMAT, FORMATS
from workers.codec import Frame, check_same_format, dump_frame, parse_frame
from workers.errors import InputError
from workers.objective.loss import mean_squared_error
from workers.psnr import psnr_db
from workers.reasons import reason_of

ANCHORS = ("jpeg", "webp", "avif")
"""Other codecs, as Pillow writes them with nothing but a quality given."""

QUALITIES = (1, 3, 6, 10, 15, 20, 27, 35, 44, 54, 65, 75, 84, 91, 96)
"""Qualities that every picture is written with: a curve that covers what most frames are encoded for."""


class Point(NamedTuple):
    """A file on a rate–distortion curve.

    Attributes:
        codec: ``qsweep`` or one of :data:`ANCHORS`.
        parameter: what sets the rate: lmbda, or the quality.
        bytes: of the file.
        bpp: the same in bits per luma sample.
        psnr_db: of the frame that it decodes to, over all samples, in dB.
    """

    codec: str
    parameter: float
    bytes: int
    bpp: float
    psnr_db: float


def bitstream_point(content: bytes, frame: Frame, lmbda: float, bitstream: str = DEFAULT_FORMAT) -> Point:
    """A bitstream, decoded.

    Args:
        content: of the file.
        frame: what was encoded.
        lmbda: weight of the rate that it was encoded with.
        bitstream: name of its format.

    Raises:
        BitstreamError: it cannot be decoded.
        MismatchError: what it decodes to is not of the frame's size and format.
    """
    height, width = frame.img_size
    decoded = frame_of(FORMATS[bitstream].decode(content, "cpu", max_pixels=max(MAX_PIXELS, height * width)))
    check_same_format(frame, decoded)
    return _point("qsweep", lmbda, len(content), frame, decoded)


def anchor_point(codec: str, quality: int, frame: Frame) -> Point:
    """A picture, written by Pillow and read again.

    Raises:
        InputError: the frame is not rgb of 8 bits, or the codec cannot hold one of its size.
    """
    if frame.frame_data_type != "rgb":
        raise InputError(f"other codecs are compared with on rgb frames alone; found {frame.frame_data_type}")
    if frame.bitdepth != 8:
        raise InputError(f"other codecs are compared with on frames of 8 bits alone; found {frame.bitdepth} bits")
    with Image.open(io.BytesIO(dump_frame(frame, "frame.png"))) as picture:
        picture.load()
    sink = io.BytesIO()
    try:
        picture.save(sink, codec.upper(), quality=quality)
    except (OSError, ValueError) as error:
        raise InputError(f"{codec} cannot hold the frame: {reason_of(error)}") from None
    content = sink.getvalue()
    return _point(codec, quality, len(content), frame, parse_frame(content, f"frame.{codec}"))


def _point(codec: str, parameter: float, n_bytes: int, frame: Frame, decoded: Frame) -> Point:
    height, width = frame.img_size
    mse = mean_squared_error(decoded.data, frame.data).item()
    return Point(codec, parameter, n_bytes, 8 * n_bytes / (height * width), psnr_db(mse))


def writable_anchors() -> tuple[str, ...]:
    """Those of :data:`ANCHORS` that the installed Pillow can write."""
    Image.init()
    return tuple(codec for codec in ANCHORS if codec.upper() in Image.SAVE)


def check_bd_rate() -> None:
    """Check that :func:`bd_rate` has what it needs, before any work is done for it.

    Raises:
        InputError: a package is missing or cannot be loaded.
    """
    try:
        import bjontegaard  # noqa: F401  # heavy, and an extra
    except ImportError as error:
        hint = "in a clone of qsweep run scripts/setup eval, or pip install '.[eval]'"
        raise InputError(f"{error.name or 'bjontegaard'} is missing: {hint} ({reason_of(error)})") from None


def bd_rate(anchor: list[Point], test: list[Point]) -> float | None:
    """Bjøntegaard-Delta rate: bits that a codec needs more than an anchor for the same PSNR, as a fraction.

    Averaged in the logarithm of the rate over the PSNRs that both reach, with Akima interpolation (Herglotz et al.,
    "Beyond Bjøntegaard", 2022); points that cost more than a better one are left out.

    Returns:
        ``None`` where it is not defined: one of them has fewer than two points, or they reach no PSNR together.
    """
    from bjontegaard import bd_rate as percent  # heavy, and an extra

    curves = [_rising(anchor), _rising(test)]
    if min(map(len, curves)) < 2:
        return None
    (anchor_bpp, anchor_db), (test_bpp, test_db) = (
        (np.array([p.bpp for p in curve]), np.array([p.psnr_db for p in curve])) for curve in curves
    )
    if max(anchor_db[0], test_db[0]) >= min(anchor_db[-1], test_db[-1]):
        return None
    value = percent(
        anchor_bpp, anchor_db, test_bpp, test_db, method="akima", require_matching_points=False, min_overlap=0
    )
    return float(value) / 100


def _rising(points: list[Point]) -> list[Point]:
    """Those of which none is better for the same rate or less, by rate."""
    rising: list[Point] = []
    for point in sorted(points, key=lambda point: (point.bpp, -point.psnr_db)):
        if np.isfinite(point.psnr_db) and (not rising or point.psnr_db > rising[-1].psnr_db):
            rising.append(point)
    return rising
