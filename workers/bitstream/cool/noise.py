"""Common randomness: grids of fixed Gaussian noise that encoder and decoder both know."""

from collections.abc import Sequence

import numpy as np

from workers.bitstream.cool.kernel.convolution import Floats
from workers.bitstream.cool.resizing import double
from workers.bitstream.exp_golomb import Integers

_MODULUS, _FACTOR, _SEED = (1 << 31) - 1, 16807, 18101995
_PI = 3.14159265359  # Cool-Chic's
_BLOCK = 1 << 16


def common_randomness(sizes: Sequence[tuple[int, int]]) -> Floats:
    """Noise ``[C, H, W]``, a channel of each resolution, for the synthesis.

    Args:
        sizes: height and width of each resolution, the finest one first: that of the noise.
    """
    numbers = _gaussian(sum(height * width for height, width in sizes))
    grids = []
    for height, width in sizes:
        grids.append(numbers[: height * width].reshape(1, height, width))
        numbers = numbers[height * width :]
    *finer, noise = grids
    for grid in reversed(finer):
        height, width = grid.shape[1:]
        noise = np.concatenate([grid, double(noise)[:, :height, :width]])
    return noise


def _gaussian(n: int) -> Floats:
    """Numbers ``[n]`` of the generator, from its seed on."""
    # Powers of the factor, so that a block of states follows from the one before it.
    powers = np.empty(2 * _BLOCK, np.int64)
    powers[0], known = _FACTOR, 1
    while known < len(powers):
        powers[known : 2 * known] = powers[:known] * powers[known - 1] % _MODULUS
        known *= 2
    numbers = np.empty(n, np.float32)
    state = _SEED
    for start in range(0, n, _BLOCK):
        states: Integers = powers * state % _MODULUS
        state = int(states[-1])
        u1, u2 = (states[: 2 * (n - start)] / _MODULUS).reshape(-1, 2).T
        numbers[start : start + _BLOCK] = np.sqrt(-2 * np.log(u1)) * np.cos(2 * _PI * u2)
    return numbers
