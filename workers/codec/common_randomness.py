"""Common randomness: fixed pseudo-Gaussian noise that encoder and decoder give to the synthesis."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_SEED = 18101995
_FACTOR = 16807
_MODULUS = 2**31 - 1
_PI = 3.14159265359  # as it stands in Cool-Chic 5.0.1
_BLOCK = 4096


@cache
def noise(sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Noise as channels of the synthesis' input.

    Args:
        sizes: height and width of the latents, full resolution first; a tuple.

    Returns:
        ``[1, n_latents, H, W]``: from each grid of Gaussian numbers a channel, the finest first.
    """
    counts = [height * width for height, width in sizes]
    numbers = torch.from_numpy(gaussian(sum(counts)))
    grids = [part.view(1, 1, *size) for part, size in zip(torch.split(numbers, counts), sizes, strict=True)]
    *finer, z = grids
    for grid in reversed(finer):
        height, width = grid.shape[-2:]
        z = F.interpolate(z, scale_factor=2, mode="bicubic", align_corners=False)[..., :height, :width]
        z = torch.cat([grid, z], dim=1)
    return z


def gaussian(n: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """The first ``n`` numbers: of each two steps of a linear congruential generator, by Box and Muller."""
    uniform = _states(2 * n) / _MODULUS
    radius = np.sqrt(-2 * np.log(uniform[::2]))
    numbers: np.ndarray[tuple[int], np.dtype[np.float64]] = radius * np.cos(2 * _PI * uniform[1::2])
    return numbers.astype(np.float32)


def _states(n: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """``z ← 16807 · z mod (2^31 − 1)``, ``n`` times."""
    powers = np.empty(min(n, _BLOCK), np.int64)
    power = 1
    for i in range(len(powers)):
        power = power * _FACTOR % _MODULUS
        powers[i] = power
    states = np.empty(n, np.int64)
    z = _SEED
    for first in range(0, n, _BLOCK):
        part = powers[: n - first] * z % _MODULUS  # of two factors below 2^31
        states[first : first + len(part)] = part
        z = int(part[-1])
    return states
