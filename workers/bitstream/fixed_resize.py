"""Resize in fixed-point arithmetic: by a filter whose weights follow from whole numbers alone."""

import numpy as np
import torch
from torch import Tensor

from workers.bitstream.exp_golomb import Integers
from workers.bitstream.fixed_point import Doubles, round_half_up
from workers.bitstream.fixed_tensors import rescale_
from workers.codec.coolchic_parameter import FinalUpsampling

_WEIGHT_BITS = 16
_SHARPNESS = -0.75


def fixed_resize(x: Tensor, height: int, width: int, kind: FinalUpsampling) -> Tensor:
    """Activations ``[C, h, w]`` at another size, the width first; see :func:`workers.codec.resize.resize`."""
    for axis, length in ((-1, width), (-2, height)):
        if x.shape[axis] != length:
            x = _resize_axis(x, axis, length, kind)
    return x


def _resize_axis(x: Tensor, axis: int, length: int, kind: FinalUpsampling) -> Tensor:
    n = x.shape[axis]
    if kind == "nearest":
        return x.index_select(axis, torch.from_numpy(_nearest(n, length)).to(x.device))
    shape = (length,) if axis == -1 else (length, 1)
    total: Tensor | None = None
    for indices, weights in _taps(n, length, kind):
        term = x.index_select(axis, torch.from_numpy(np.clip(indices, 0, n - 1)).to(x.device))
        term.mul_(torch.from_numpy(weights).view(shape).to(x.device))
        total = term if total is None else total.add_(term)
    assert total is not None
    return rescale_(total, _WEIGHT_BITS)


def _nearest(n: int, length: int) -> Integers:
    """Source index of each sample; scale and product are rounded to single precision."""
    source = np.arange(length, dtype=np.float32) * np.float32(n / length)
    indices: Integers = np.minimum(np.floor(source).astype(np.int64), n - 1)
    return indices


def _taps(n: int, length: int, kind: FinalUpsampling) -> list[tuple[Integers, Doubles]]:
    """Indices and weights, multiples of 2^−16 that sum to one, of the source samples of each sample."""
    # Sample i lies at (i + ½) · n / length − ½ of the source, which is a fraction of whole numbers.
    numerator = (2 * np.arange(length) + 1) * n - length
    if kind == "bilinear":
        numerator = np.maximum(numerator, 0)
    first, rest = np.divmod(numerator, 2 * length)
    fraction = rest / (2 * length)
    weights = {1: fraction} if kind == "bilinear" else _cubic(fraction)
    fixed = {tap: round_half_up(of_tap * 2.0**_WEIGHT_BITS) for tap, of_tap in weights.items()}
    fixed[0] = 2.0**_WEIGHT_BITS - np.sum(list(fixed.values()), axis=0)
    return [(first + tap, of_tap) for tap, of_tap in fixed.items()]


def _cubic(fraction: Doubles) -> dict[int, Doubles]:
    """Weights of the neighbours of a position, by their distance from the one before it, whose own is the rest."""
    a = _SHARPNESS

    def far(x: Doubles) -> Doubles:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    opposite = 1 - fraction
    near = ((a + 2) * opposite - (a + 3)) * opposite * opposite + 1
    return {-1: far(fraction + 1), 1: near, 2: far(opposite + 1)}
