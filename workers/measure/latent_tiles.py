"""Latent grids in any order of their latents, and tiles of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec.latent import PAD


class LatentTile(NamedTuple):
    """Some latents of one grid, as they follow each other there."""

    grid: int
    first: int
    end: int


class OrderedGrid(NamedTuple):
    """A latent grid, and an order of its latents.

    Attributes:
        padded: its channels with zeros around each of them, below each other, ``[n_i · (H_i + 8), W_i + 8]``.
        positions: flat index of each latent in it, ``[N_i]`` int64.
        values: the latents, ``[N_i]``.
        inputs: of the linear layer that gives the features, ``[n_inputs, h · w]``; ``None`` where there is none.
        coarse: flat index of what lies under each latent in them, ``[N_i]`` int32.
    """

    padded: Tensor
    positions: Tensor
    values: Tensor
    inputs: Tensor | None = None
    coarse: Tensor | None = None

    @classmethod
    def of(cls, grid: Tensor, inputs: Tensor | None) -> "OrderedGrid":
        """A grid ``[n_i, H_i, W_i]``, channel by channel, in raster order.

        Args:
            grid: the latents.
            inputs: of its IFCE, ``[n_inputs, h, w]``, if it has one.
        """
        padded = F.pad(grid, (PAD, PAD, PAD, PAD))
        index = torch.arange(padded.numel(), device=grid.device).view(padded.shape)
        positions = index[:, PAD:-PAD, PAD:-PAD].flatten()
        # What is one wide is flattened without a copy, and then its elements do not follow each other.
        made = cls(padded.flatten(0, 1).contiguous(), positions.contiguous(), grid.flatten().contiguous())
        if inputs is None:
            return made
        rows, columns = (torch.arange(size, dtype=torch.int32, device=grid.device) // 2 for size in grid.shape[1:])
        coarse = (rows[:, None] * inputs.shape[-1] + columns).flatten()
        return made._replace(inputs=inputs.flatten(1).contiguous(), coarse=coarse)

    def ordered(self, order: Tensor) -> "OrderedGrid":
        """The same in another order."""
        coarse = None if self.coarse is None else self.coarse[order]
        return self._replace(positions=self.positions[order], values=self.values[order], coarse=coarse)

    def contexts(self, tile: LatentTile, offsets: Sequence[tuple[int, int]]) -> Tensor:
        """Neighbours of the latents of a tile, ``[T, C]``."""
        stride = self.padded.stride(0)
        shifts = torch.tensor([dy * stride + dx for dy, dx in offsets], device=self.padded.device)
        return self.padded.view(-1)[self.positions[tile.first : tile.end, None] + shifts]

    def under(self, tile: LatentTile) -> Tensor | None:
        """``coarse`` of the latents of a tile."""
        return None if self.coarse is None else self.coarse[tile.first : tile.end]
