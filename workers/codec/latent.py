"""Latent grids: quantization, and the causal contexts that the arm sees."""

from collections.abc import Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

MASK_SIZE = 9
"""Side of the window, centred on a latent, in which its causal neighbours lie."""

PAD = MASK_SIZE // 2


def quantize_latents(latent_grids: Sequence[Tensor], encoder_gain: float) -> list[Tensor]:
    """Decoder-side latents ``y_i = round(encoder_gain · latent_grids[i])``, ties to even.

    Args:
        latent_grids: ``[1, n_i, H_i, W_i]`` each.
        encoder_gain: factor before rounding.

    Returns:
        As many tensors of the same shapes, integer-valued float32.
    """
    return [torch.round(grid * encoder_gain) for grid in latent_grids]


def context_offsets(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Row and column, relative to a latent, of its causal neighbours, from their flat indices in the window."""
    return [(index // MASK_SIZE - PAD, index % MASK_SIZE - PAD) for index in indices]


def contexts(latents: Sequence[Tensor], indices: Sequence[int]) -> Tensor:
    """Causal neighbours of every latent, zeros outside its grid.

    Args:
        latents: decoder-side latents, ``[1, n_i, H_i, W_i]`` each; a channel knows nothing of the others.
        indices: of the ``C`` neighbours in the window, in the order in which they are wanted.

    Returns:
        ``[N, C]``, the ``N`` latents grid by grid, channel by channel, in raster order within a channel.
    """
    flat = []
    for channel in chain.from_iterable(grid[0] for grid in latents):
        height, width = channel.shape
        padded = F.pad(channel, (PAD, PAD, PAD, PAD))  # [H_i + 8, W_i + 8]
        neighbours = [
            padded[PAD + dy : PAD + dy + height, PAD + dx : PAD + dx + width].reshape(-1)
            for dy, dx in context_offsets(indices)
        ]
        flat.append(torch.stack(neighbours, dim=1))  # [H_i · W_i, C]
    return torch.cat(flat)


def flatten(latents: Sequence[Tensor]) -> Tensor:
    """All latents as one vector ``[N]``, grid by grid, channel by channel, in raster order."""
    return torch.cat([grid.reshape(-1) for grid in latents])
