"""The arithmetic that decides between moves: activations in fixed point, so that every sum is exact.

Activations are rounded to multiples of 2^-16, or 2^-20 where they make a picture, of magnitude at most 2^11.
Parameters are integers of at most 16 bits times a power of two. A sum of their products is then a multiple of a
power of two, and exact in double precision: it depends on no order of additions, no fused multiplication, no
library, kernel or number of threads. Rates are read from tables, and rounded before they are added up. So equal
integers have equal costs everywhere, whether they are computed at once, or step by step from what was kept of
others.

The numbers differ from those of the plain arithmetic: bits by about 1e-4 of them, since tables are
interpolated, and squared errors in single samples. So a refinement ends with a measurement by that arithmetic.
"""

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from workers.codec.arm import GREATEST_LOG_SCALE, MAX_RATE_BIT

RATE_UNIT = 2.0**-16
"""Of activations that give the rate of latents, and of its bits."""

PICTURE_UNIT = 2.0**-20
"""Of activations that give the picture."""

_LIMIT = 2.0**11
_SCALES = 32
_PARTS = 128
_LEAST_LOG_SCALE = -5.0

MOST_IN_SUM = {RATE_UNIT: 1 << 25, PICTURE_UNIT: 1 << 21}
"""Magnitudes of the integers of one output, added up, at most: half of what is exact, for what moves add."""


def to_multiple(x: Tensor, unit: float) -> Tensor:
    """To the nearest activation, ties to even; float64 of any shape."""
    return (x.clamp(-_LIMIT, _LIMIT) / unit).round() * unit


class RateTables(NamedTuple):
    """Bits of a latent, over the logarithm of the scale of its distribution, −5 to 5 in steps of 1/32.

    Attributes:
        near: of those less than half a unit from the expectation, over the distance too, 0 to ½ in steps of 1/256:
            ``[321 + 1, 129]``, the last row repeated.
        slope: bits per unit of distance of those farther away, ``[321 + 1]``.
        offset: what is subtracted from these, likewise.
    """

    near: Tensor
    slope: Tensor
    offset: Tensor


@cache
def rate_tables() -> RateTables:
    """The tables, rounded to multiples of 2^-16, so that the library that computes them does not matter."""
    steps = int((GREATEST_LOG_SCALE - _LEAST_LOG_SCALE) * _SCALES)
    near, slope, offset = [], [], []
    for i in range(steps + 2):
        inverse = math.exp(-(_LEAST_LOG_SCALE + min(i, steps) / _SCALES))  # 1 / scale
        slope.append(inverse / math.log(2))
        # log2(sinh(a)), a = 1 / (2 · scale): sinh itself may be beyond what a double holds.
        offset.append(inverse / 2 / math.log(2) - 1 + math.log2(-math.expm1(-inverse)))
        near.append([_bits_near(inverse, j / (2 * _PARTS)) for j in range(_PARTS + 1)])
    return RateTables(*(_rounded(torch.tensor(table, dtype=torch.float64)) for table in (near, slope, offset)))


def _bits_near(inverse: float, distance: float) -> float:
    """Bits of a latent at most half a unit from the expectation of a Laplace distribution."""
    outside = (math.exp(-(0.5 - distance) * inverse) + math.exp(-(0.5 + distance) * inverse)) / 2
    probability = -math.expm1(-inverse) / 2 if distance == 0.5 else 1 - outside
    return -math.log2(max(probability, 2.0**-MAX_RATE_BIT))


def _rounded(table: Tensor) -> Tensor:
    return (table / RATE_UNIT).round() * RATE_UNIT


def least_log_scale(given: float) -> float:
    """The least logarithm of a scale, as an activation."""
    return round(max(given, _LEAST_LOG_SCALE) / RATE_UNIT) * RATE_UNIT


def latent_bits(latents: Tensor, mu: Tensor, log_scale: Tensor, least: float) -> Tensor:
    """Bits of latents, multiples of 2^-16.

    Args:
        latents: integers, float64.
        mu: expectations, multiples of 2^-16, of the same shape.
        log_scale: second output of the arm, likewise.
        least: from :func:`least_log_scale`.
    """
    tables = rate_tables()
    distance = (latents - mu).abs().clamp_max(_LIMIT)
    place = ((log_scale - 4).clamp(least, GREATEST_LOG_SCALE) - _LEAST_LOG_SCALE) * _SCALES
    i = place.floor().long()
    part = place - i
    slope = to_multiple(tables.slope[i] + (tables.slope[i + 1] - tables.slope[i]) * part, RATE_UNIT)
    far = distance * slope - (tables.offset[i] + (tables.offset[i + 1] - tables.offset[i]) * part)
    inner = distance.clamp_max(0.5) * (2 * _PARTS)
    j = inner.floor().long().clamp_max(_PARTS - 1)
    low = tables.near[i, j] + (tables.near[i + 1, j] - tables.near[i, j]) * part
    high = tables.near[i, j + 1] + (tables.near[i + 1, j + 1] - tables.near[i, j + 1]) * part
    close = low + (high - low) * (inner - j)
    return to_multiple(torch.where(distance < 0.5, close, far).clamp_max(MAX_RATE_BIT), RATE_UNIT)


def samples(image: Tensor, maximum: int) -> Tensor:
    """Integer samples of an image in [0, 1]."""
    return (image * maximum).round().clamp(0, maximum)
