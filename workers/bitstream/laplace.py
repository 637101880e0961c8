"""Distributions of latents as tables of integers, the same on every machine.

A Laplace distribution has one of :data:`N_SCALES` scales ``β = exp(index / 32)``, from ``exp(−4.6)`` to ``exp(5)``,
and an expectation that is a multiple of 1/64. What is coded is a latent's distance from the nearest integer to the
expectation, in buckets: of one integer each for small scales, of a power of two for large ones, whose position
within the bucket is sent as plain bits. Distances beyond the table have an escape symbol, and are plain bits too.

Exponentials are taken in decimal arithmetic, which Python rounds correctly, and everything after is integer.
"""

from decimal import Context, Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SCALE_BITS = 5
"""Scales are ``exp`` of multiples of 2^−5."""
FIRST_SCALE, LAST_SCALE = -147, 160  # −4.6 and 5.0
N_SCALES = LAST_SCALE - FIRST_SCALE + 1
MEAN_BITS = 6
"""Expectations are multiples of 2^−6."""

N_SYMBOLS = 128
ESCAPE = N_SYMBOLS - 1
"""The symbol of a distance beyond the table."""
REACH = ESCAPE // 2
"""Buckets on either side of the one with the expectation."""

_COVERED = 10  # scales to either side that the buckets reach over, at least
# No latent is thought to cost more than 16 bits: nearby surprises cost little more, at the expense of all others.
_NEAR, _LEAST = 4, np.float32(1 << 7)  # buckets to either side, of probability 2^−17
_ONE_BITS = 31  # fixed point of the exponentials: products of two fit 64 bits
_FREE = (1 << 24) - N_SYMBOLS  # of the range coder's 2^24, which gives one to each symbol by itself
_DECIMAL = Context(prec=40)


class LaplaceTable(NamedTuple):
    """All distributions.

    Attributes:
        weights: ``[N_SCALES, 64, N_SYMBOLS]``, whole numbers in float32 that sum to 2^24 − 128 along the last axis.
            The second axis is the expectation's distance from the nearest integer, from −32/64 to 31/64;
            the last one the bucket, from −63 to 63, and the escape.
        bucket_bits: ``[N_SCALES]``, logarithm to base two of the integers in a bucket.
    """

    weights: npt.NDArray[np.float32]
    bucket_bits: npt.NDArray[np.int64]


@lru_cache(maxsize=1)
def laplace_table() -> LaplaceTable:
    """The table; it takes a moment to make, once in a process."""
    widths, near, below, above = [], [], [], []
    n_means = 1 << MEAN_BITS
    for index in range(FIRST_SCALE, LAST_SCALE + 1):
        inverse = (Decimal(-index) / (1 << SCALE_BITS)).exp(_DECIMAL)
        bits = 0
        while REACH * 2**bits * inverse < _COVERED:
            bits += 1
        step = -inverse / n_means  # exponent of one 64th
        width = n_means << bits  # of a bucket, in 64ths
        widths.append(bits)
        near.append(_powers(Decimal(0), step * width, REACH + 1))
        below.append(_powers(Decimal(0), step, n_means))
        above.append(_powers(step * (width - n_means + 1), step, n_means))
    # Edge b of the buckets lies at b · width − (32 + mean) 64ths from the expectation.
    decay, lower, upper = (np.array(powers, dtype=np.uint64) for powers in (near, below, above))
    left = _tail(decay[:, None, ::-1], lower[:, :, None])  # [scale, mean, edge −63 … 0]
    right = np.uint64(_FREE) - _tail(decay[:, None, :], upper[:, ::-1, None])  # edge 1 … 64
    cumulative = np.concatenate([left, right], axis=2)  # [scale, mean, 128]
    weights = np.empty((N_SCALES, n_means, N_SYMBOLS), np.float32)
    weights[..., :ESCAPE] = np.diff(cumulative, axis=2)
    weights[..., ESCAPE] = cumulative[..., 0] + (np.uint64(_FREE) - cumulative[..., -1])
    near_buckets = weights[..., REACH - _NEAR : REACH + _NEAR + 1]
    lacking = np.maximum(_LEAST - near_buckets, 0)
    near_buckets += lacking
    weights[..., REACH] -= lacking.sum(axis=2)
    weights.setflags(write=False)
    return LaplaceTable(weights, np.array(widths))


def _powers(first: Decimal, step: Decimal, n: int) -> list[int]:
    """``exp(first + i · step)`` for i below n, in fixed point."""
    extra = 30  # bits, so that rounding in each product is of no account
    value = int(first.exp(_DECIMAL) * (1 << (_ONE_BITS + extra)))
    factor = int(step.exp(_DECIMAL) * (1 << (_ONE_BITS + extra)))
    result = []
    for _ in range(n):
        result.append(value >> extra)
        value = (value * factor) >> (_ONE_BITS + extra)
    return result


def _tail(decay: npt.NDArray[np.uint64], offset: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Half the product of two exponentials, of what there is to share out."""
    product = (decay * offset) >> np.uint64(_ONE_BITS)
    return (product * np.uint64(_FREE)) >> np.uint64(_ONE_BITS + 1)
