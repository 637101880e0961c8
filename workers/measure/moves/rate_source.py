"""What the bits of the latents of a cool-chic are computed from, beside parameters: latents and contexts."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec.coolchic import CoolChic
from workers.codec.ifce import enlarge, ifce_input
from workers.codec.latent import contexts
from workers.measure.moves.fixed_point import least_log_scale

TILE = 256
"""Latents that are computed together at most."""

_POLL = 64
"""Tiles that estimates are made from, of cool-chics that have more."""


class GridContexts(NamedTuple):
    """The latents of one grid.

    Attributes:
        latents: ``[N]`` float64.
        spatial: causal neighbours, ``[n_spatial, N]`` float64.
        inputs: of the linear layer that gives the features, for every latent, ``[n_inputs, N]`` float64; ``None``
            for a grid whose features are zeros.
        feature_layer: index of that layer; −1 if there is none.
    """

    latents: Tensor
    spatial: Tensor
    inputs: Tensor | None
    feature_layer: int


class RateSource:
    """Latents and contexts of a cool-chic, grid by grid.

    Args:
        coolchic: its latents are read.

    Attributes:
        grids: those that have latents.
        n_spatial: numbers of a context that are neighbours.
        n_features: numbers of a context that are features.
        n_hidden: hidden layers of the auto-regressive module.
        least_log_scale: smaller ones are clamped.
        tiles: the same latents in parts of at most :data:`TILE`.
        poll: indices of the tiles that estimates are made from.
        poll_ratio: number of all latents, and of those in these tiles.
    """

    def __init__(self, coolchic: CoolChic) -> None:
        param = coolchic.param
        latents = coolchic.decoder_side_latents()
        spatial = contexts(latents, param.context_indices).double().t()  # [n_spatial, N]
        self.n_spatial, self.n_features = param.spatial_context_arm, param.output_feature_ifce
        self.n_hidden = param.n_hidden_layers_arm
        self.least_log_scale = least_log_scale(param.family.least_log_scale)
        self.grids, start = [], 0
        for i, grid in enumerate(latents):
            end = start + grid.numel()
            inputs, number = None, -1
            if i in param.ifce_grids:
                number = param.ifce_grids.index(i)
                height, width = grid.shape[-2:]
                inputs = enlarge(ifce_input(latents, i), height, width)[0].flatten(1).double()
            own = GridContexts(grid.reshape(-1).double(), spatial[:, start:end].contiguous(), inputs, number)
            if grid.numel():
                self.grids.append(own)
            start = end
        self.tiles = [
            GridContexts(
                grid.latents[first : first + TILE],
                grid.spatial[:, first : first + TILE],
                None if grid.inputs is None else grid.inputs[:, first : first + TILE],
                grid.feature_layer,
            )
            for grid in self.grids
            for first in range(0, len(grid.latents), TILE)
        ]
        n = len(self.tiles)
        self.poll = list(range(n)) if n <= _POLL else [i * n // _POLL for i in range(_POLL)]
        self.poll_ratio = (start, sum(len(self.tiles[i].latents) for i in self.poll))


def padded(rows: Tensor, length: int) -> Tensor:
    """Rows filled up with zeros to a length."""
    return F.pad(rows, (0, length - rows.shape[-1])).contiguous()


def zeros(*shape: int) -> Tensor:
    """Float64 zeros."""
    return torch.zeros(*shape, dtype=torch.float64)
