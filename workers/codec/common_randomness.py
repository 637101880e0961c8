"""Common randomness: fixed pseudo-Gaussian noise that encoder and decoder give to the synthesis."""

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_SEED = 18101995
_FACTOR = 16807
MODULUS = 2**31 - 1
"""States of the generator are below this, and not 0."""

PI = 3.14159265359
"""As it stands in Cool-Chic 5.0.1."""

_BLOCK = 4096


@cache
def noise(img_size: tuple[int, int], channels: tuple[int, ...]) -> Tensor:
    """Noise as channels of the synthesis' input.

    Args:
        img_size: height and width of the frame.
        channels: 0 or 1 for each resolution, from 0 on: whether there is a grid of Gaussian numbers of it.

    Returns:
        ``[1, Σ channels, H, W]``: from each grid a channel, the finest first.
    """
    sizes = [tuple(-(-side >> resolution) for side in img_size) for resolution in range(len(channels))]
    counts = [n * math.prod(size) for n, size in zip(channels, sizes, strict=True)]
    numbers = torch.from_numpy(gaussian(sum(counts)))
    parts = torch.split(numbers, counts)
    grids = [part.view(1, n, *size) for part, n, size in zip(parts, channels, sizes, strict=True)]
    *finer, z = grids
    for grid in reversed(finer):
        height, width = grid.shape[-2:]
        if not z.shape[1]:  # nothing is enlarged yet
            z = grid
            continue
        z = F.interpolate(z, scale_factor=2, mode="bicubic", align_corners=False)[..., :height, :width]
        z = torch.cat([grid, z], dim=1)
    return z


def gaussian(n: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """The first ``n`` numbers: of each two steps of a linear congruential generator, by Box and Muller."""
    uniform = states(2 * n) / MODULUS
    radius = np.sqrt(-2 * np.log(uniform[::2]))
    numbers: np.ndarray[tuple[int], np.dtype[np.float64]] = radius * np.cos(2 * PI * uniform[1::2])
    return numbers.astype(np.float32)


def states(n: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """``z ← 16807 · z mod (2^31 − 1)``, ``n`` times."""
    powers = np.empty(min(n, _BLOCK), np.int64)
    power = 1
    for i in range(len(powers)):
        power = power * _FACTOR % MODULUS
        powers[i] = power
    states = np.empty(n, np.int64)
    z = _SEED
    for first in range(0, n, _BLOCK):
        part = powers[: n - first] * z % MODULUS  # of two factors below 2^31
        states[first : first + len(part)] = part
        z = int(part[-1])
    return states
