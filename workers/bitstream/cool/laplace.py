"""Means and scales of the latents' distributions: tables that the arm's outputs are indices into."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

FEATURE_STEPS = 256
"""Outputs of the arm are multiples of 1/256."""

MEAN_OFFSET, LAST_MEAN = 64 * FEATURE_STEPS, (1 << 15) - 1
SCALE_OFFSET, LAST_SCALE = 5 * FEATURE_STEPS, 10 * FEATURE_STEPS

# The official table was computed once, in single precision: so far it is from the rounded exponential.
_GREATER = (198, 442, 901, 1070, 1310, 1644, 1719, 1906, 2039, 2096, 2300)
_SMALLER = (87, 489, 809, 923, 1003, 1049, 1530, 1573, 2240, 2276, 2323, 2337)


@lru_cache(maxsize=1)
def scale_table() -> Doubles:
    """Scales ``[2561]``: float32 numbers near ``exp(−5 + j / 256)``."""
    table = np.exp(np.arange(LAST_SCALE + 1) / FEATURE_STEPS - 5).astype(np.float32)
    table.view(np.int32)[list(_GREATER)] += 1
    table.view(np.int32)[list(_SMALLER)] -= 1
    scales = table.astype(np.float64)
    scales.setflags(write=False)
    return scales
