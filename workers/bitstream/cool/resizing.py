"""Enlarging of planes: the resize that ends a cool-chic, in single precision, as torch defines it."""

import numpy as np

from workers.bitstream.cool.kernel.convolution import Floats
from workers.codec.coolchic_parameter import FinalUpsampling

_SHARPNESS = np.float32(-0.75)


def resize(planes: Floats, size: tuple[int, int], kind: FinalUpsampling) -> Floats:
    """Planes ``[C, h, w]`` at another size, pixels' corners not aligned, borders replicated."""
    for axis, length in ((1, size[0]), (2, size[1])):
        planes = _resize_axis(planes, axis, length, np.float32(planes.shape[axis] / length), kind)
    return planes


def double(planes: Floats) -> Floats:
    """Planes ``[C, h, w]`` twice as high and wide, bicubic."""
    for axis in (1, 2):
        planes = _resize_axis(planes, axis, 2 * planes.shape[axis], np.float32(0.5), "bicubic")
    return planes


def _resize_axis(planes: Floats, axis: int, length: int, scale: np.float32, kind: FinalUpsampling) -> Floats:
    n = planes.shape[axis]
    positions = np.arange(length, dtype=np.float32)
    if kind == "nearest":
        indices = np.minimum(np.floor(positions * scale).astype(np.int64), n - 1)
        nearest: Floats = planes.take(indices, axis)
        return nearest
    source = (positions + np.float32(0.5)) * scale - np.float32(0.5)
    if kind == "bilinear":
        source = np.maximum(source, np.float32(0))
    first = np.floor(source)
    taps = _linear(source - first) if kind == "bilinear" else _cubic(source - first)
    found = np.zeros((*planes.shape[:axis], length, *planes.shape[axis + 1 :]), np.float32)
    for tap, weights in taps.items():
        indices = np.clip(first.astype(np.int64) + tap, 0, n - 1)
        found += planes.take(indices, axis) * weights.reshape((-1,) + (1,) * (2 - axis))
    return found


def _linear(fraction: Floats) -> dict[int, Floats]:
    return {0: np.float32(1) - fraction, 1: fraction}


def _cubic(fraction: Floats) -> dict[int, Floats]:
    """Weights of the four neighbours of a position, by their distance from the one to its left."""
    a, one = _SHARPNESS, np.float32(1)

    def near(x: Floats) -> Floats:
        return ((a + 2) * x - (a + 3)) * x * x + one

    def far(x: Floats) -> Floats:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return {-1: far(fraction + one), 0: near(fraction), 1: near(one - fraction), 2: far(2 - fraction)}
