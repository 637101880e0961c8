"""Inter-feature contexts: what a latent's arm is given of all coarser grids."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from workers.bitstream.cool.fixed_arm import FRACTION_BITS, OUTPUT_SHIFT, FixedLayer

Latents = npt.NDArray[np.int8]
Features = npt.NDArray[np.float32]

_BAND_NUMBERS = 1 << 20
"""Of a band of rows that is computed at a time."""


def grid_features(layer: FixedLayer, sizes: Sequence[tuple[int, int]], coarser: Sequence[Latents]) -> Features:
    """Features of the latents of a grid, each for two by two of them.

    Args:
        layer: that makes them.
        sizes: height and width of the grid, and of all that follow it.
        coarser: latents of those that follow it, ``[h, w]`` each.

    Returns:
        ``[F, h, w]``, whole numbers, of the size of the grid that follows; of its own size if none does. Row ``y``
        and column ``x`` hold those of the latents in rows ``2y``, ``2y + 1`` and columns ``2x``, ``2x + 1``.
    """
    height, width = sizes[1 if coarser else 0]
    if not coarser:  # the input is zero
        constant = (layer.bias >> OUTPUT_SHIFT).astype(np.float32)
        return np.ascontiguousarray(np.broadcast_to(constant[:, None, None], (len(constant), height, width)))
    # Every change of size on the way from a coarser grid doubles it.
    changes = np.cumsum([0, *(a != b for a, b in pairwise(sizes[1:]))]).tolist()
    features = np.empty((len(layer.bias), height, width), np.float32)
    rows_at_a_time = max(1, _BAND_NUMBERS // (width * len(coarser)))
    weight = layer.weight << FRACTION_BITS
    for top in range(0, height, rows_at_a_time):
        rows = np.arange(top, min(height, top + rows_at_a_time))
        inputs = np.empty((len(coarser), len(rows), width), np.int64)
        for channel, latents, shift in zip(inputs, coarser, changes, strict=True):
            channel[:] = latents[rows[:, None] >> shift, np.arange(width) >> shift]
        sums = weight @ inputs.reshape(len(coarser), -1) + layer.bias[:, None]
        # Cool-Chic keeps them in single precision.
        features[:, rows] = (sums >> OUTPUT_SHIFT).astype(np.float32).reshape(len(features), len(rows), width)
    return features
