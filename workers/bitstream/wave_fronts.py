"""The order in which latents are coded: all whose contexts are known at a time, over all grids, are one wave."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from workers.bitstream.exp_golomb import Integers
from workers.codec.latent import PAD, context_offsets

Indices = npt.NDArray[np.signedinteger[Any]]


class WaveFronts(NamedTuple):
    """Latents in coding order.

    Attributes:
        order: ``[N]``, indices of the latents as they are numbered elsewhere: grid by grid, in raster order.
        ends: ``[W]``, for each wave the end of its part of ``order``.
    """

    order: Integers
    ends: Integers


def wave_fronts(
    grid_sizes: Sequence[tuple[int, int]], context: Sequence[int], *, coarser_first: bool = False
) -> WaveFronts:
    """Waves of all grids together.

    The latent in row ``r`` and column ``c`` of its grid is in wave ``c + s · r``, with the least ``s`` for which
    every neighbour in its context is in an earlier one.

    Args:
        grid_sizes: height and width of each grid.
        context: indices of a latent's neighbours in the window.
        coarser_first: whether what the grids after its own have in row ``r / 2`` and column ``c / 2``, or before
            these, is to be in earlier waves, too: each grid then begins a wave after the next one.
    """
    slant = wave_slant(context)
    first = np.arange(len(grid_sizes))[::-1] * coarser_first
    waves = np.concatenate(
        [
            (start + np.arange(width) + slant * np.arange(height)[:, None]).reshape(-1)
            for start, (height, width) in zip(first, grid_sizes, strict=True)
        ]
    )
    sizes = np.bincount(waves)
    return WaveFronts(np.argsort(waves, kind="stable"), np.cumsum(sizes[sizes > 0]))  # narrow grids leave gaps


def wave_slant(context: Sequence[int]) -> int:
    """Waves between a latent and the one below it, for neighbours of these indices in the window."""
    return max((dx // -dy + 1 for dy, dx in context_offsets(context) if dy < 0), default=0)


class ContextIndex:
    """Where the latents and their neighbours are in one array that holds all grids, each with a margin of zeros.

    Args:
        grid_sizes: height and width of each grid.
        context: indices of a latent's neighbours in the window.

    Attributes:
        size: of the array.
        latents: ``[N]``, where each latent is.
        origins: where the first latent of each grid is.
        strides: of each grid, between a latent and the one below it.
    """

    def __init__(self, grid_sizes: Sequence[tuple[int, int]], context: Sequence[int]) -> None:
        self._offsets = np.array(context_offsets(context))  # [C, 2]
        self.size = 0
        self.origins: list[int] = []
        self.strides = [width + 2 * PAD for _, width in grid_sizes]
        positions = []
        for (height, width), stride in zip(grid_sizes, self.strides, strict=True):
            self.origins.append(self.size + PAD * stride + PAD)
            rows, columns = np.arange(height), np.arange(width)
            positions.append((self.origins[-1] + rows[:, None] * stride + columns).reshape(-1))
            self.size += (height + PAD) * stride
        dtype = np.int32 if self.size < 1 << 31 else np.int64
        self.latents: Indices = np.concatenate(positions).astype(dtype)
        n_latents = [height * width for height, width in grid_sizes]
        self._strides: Indices = np.repeat(np.array(self.strides, dtype), n_latents)

    def neighbours(self, latents: Integers) -> Indices:
        """``[n, C]``, where the neighbours of some latents are, of indices ``[n]``."""
        dy, dx = self._offsets.T.astype(self.latents.dtype)
        found: Indices = self._strides[latents, None] * dy
        found += dx
        found += self.latents[latents, None]
        return found
