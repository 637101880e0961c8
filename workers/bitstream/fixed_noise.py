"""Common randomness in fixed-point arithmetic: the same noise on every machine.

Logarithms and cosines of a library may differ in their last bit. Here they are made of sums, products, quotients
and square roots of double precision alone, which are the same everywhere, and rounded to activations.
"""

import math

import numpy as np
import torch
from torch import Tensor

from workers.bitstream.fixed_point import FRACTION_BITS, Doubles, round_half_up
from workers.bitstream.fixed_resize import fixed_resize
from workers.codec.common_randomness import MODULUS, PI, states

_BLOCK = 1 << 18
_TERMS = 12
_LN_2 = 0.6931471805599453
_HALF_PI = 1.5707963267948966


def fixed_noise(img_size: tuple[int, int], channels: tuple[int, ...]) -> Tensor:
    """Noise as :func:`workers.codec.common_randomness.noise` makes it, as activations ``[Σ channels, H, W]``."""
    sizes = [tuple(-(-side >> resolution) for side in img_size) for resolution in range(len(channels))]
    counts = [n * math.prod(size) for n, size in zip(channels, sizes, strict=True)]
    parts = torch.split(torch.from_numpy(_gaussian(sum(counts))), counts)
    grids = [part.view(n, *size) for part, n, size in zip(parts, channels, sizes, strict=True)]
    *finer, z = grids
    for grid in reversed(finer):
        height, width = grid.shape[-2:]
        if len(z):
            larger = fixed_resize(z, 2 * z.shape[-2], 2 * z.shape[-1], "bicubic")[..., :height, :width]
            grid = torch.cat([grid, larger])
        z = grid
    return z


def _gaussian(n: int) -> Doubles:
    """The first ``n`` numbers, as activations."""
    uniform = states(2 * n)
    numbers = np.empty(n)
    for start in range(0, n, _BLOCK):
        u1, u2 = (uniform[2 * start : 2 * (start + _BLOCK)] / MODULUS).reshape(-1, 2).T
        numbers[start : start + _BLOCK] = np.sqrt(-2 * _logarithm(u1)) * _cosine(2 * PI * u2)
    return round_half_up(numbers * 2.0**FRACTION_BITS)


def _logarithm(x: Doubles) -> Doubles:
    """Of positive numbers: by the series of the area tangent of ``(m − 1) / (m + 1)``, with ``m`` from ½ to 1."""
    mantissa, exponent = np.frexp(x)
    t = (mantissa - 1) / (mantissa + 1)  # from −1/3 to 0
    square = t * t
    total = np.zeros_like(t)
    for k in reversed(range(_TERMS)):
        total = total * square + 1 / (2 * k + 1)
    found: Doubles = 2 * t * total + exponent * _LN_2
    return found


def _cosine(x: Doubles) -> Doubles:
    """Of numbers from 0 to 7: by the series of cosine or sine around the nearest multiple of π/2."""
    quarter = np.floor(x / _HALF_PI + 0.5)
    y = x - quarter * _HALF_PI
    square = y * y
    cosine, sine = np.ones_like(y), np.ones_like(y)
    for k in reversed(range(1, _TERMS)):
        cosine = 1 - cosine * square / ((2 * k - 1) * (2 * k))
        sine = 1 - sine * square / ((2 * k) * (2 * k + 1))
    sine = sine * y
    turn = quarter.astype(np.int64) % 4
    # cos(y + n π/2) is cos y, −sin y, −cos y, sin y for n = 0, 1, 2, 3.
    return np.where(turn % 2 == 0, cosine, sine) * np.where((turn == 1) | (turn == 2), -1.0, 1.0)
