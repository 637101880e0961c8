"""Contexts of the latents in training: a neighbour's values side by side."""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.ifce import Ifce, enlarge
from workers.codec.latent import PAD, context_offsets


class TrainingContexts:
    """What the arm takes, with gradients.

    Args:
        param: of the cool-chic.
        ifce: its parameters are read at every call; ``None`` if there is none.
    """

    def __init__(self, param: CoolChicParameter, ifce: Ifce | None) -> None:
        self._grid_sizes = param.grid_sizes
        self._offsets = context_offsets(param.context_indices)
        self._n_features = param.output_feature_ifce
        self._arms = [] if ifce is None else list(zip(param.ifce_grids, ifce.arms, strict=True))

    def __call__(self, latent: Tensor) -> Tensor:
        """Contexts ``[C, N]`` of decoder-side latents ``[N]``: causal neighbours, then inter-feature contexts."""
        features = self.features(latent)
        context = _Contexts.apply(  # type: ignore[no-untyped-call]
            latent, self._grid_sizes, self._offsets, self._n_features, tuple(features), *features.values()
        )
        return cast(Tensor, context)

    def features(self, latent: Tensor) -> dict[int, Tensor]:
        """Inter-feature contexts ``[F, H_i, W_i]`` of latents ``[N]``, by index of the grid that has them."""
        if not self._arms:
            return {}
        grids = as_grids(latent, self._grid_sizes)
        last = len(grids) - 1
        first = min(i for i, _ in self._arms)
        inputs = {last: torch.zeros_like(grids[last])}
        z = grids[last]
        for i in range(last - 1, first - 1, -1):
            inputs[i] = z
            if i > first:
                height, width = self._grid_sizes[i]
                coarser = z if z.shape[-2:] == (height, width) else enlarge(z[None], height, width)[0]
                z = torch.cat([grids[i], coarser])
        return {i: self._of_grid(arm, inputs[i], *self._grid_sizes[i]) for i, arm in self._arms}

    @staticmethod
    def _of_grid(arm: torch.nn.Module, inputs: Tensor, height: int, width: int) -> Tensor:
        """Features of one grid, of the inputs ``[n, h, w]``."""
        weight, bias = arm.get_parameter("mlp.0.weight"), arm.get_parameter("mlp.0.bias")
        features = torch.addmm(bias[:, None], weight, inputs.flatten(1)).view(1, -1, *inputs.shape[1:])
        return enlarge(features, height, width)[0]


def as_grids(latent: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Grids ``[1, H_i, W_i]`` of latents ``[N]``."""
    flat = torch.split(latent, [height * width for height, width in sizes])
    return [grid.view(1, *size) for grid, size in zip(flat, sizes, strict=True)]


class _Contexts(torch.autograd.Function):
    """Context of every latent, ``[N]`` to ``[C, N]``.

    Neighbours, zeros outside a latent's grid; then the features of its grid, zeros where that has none.
    """

    @staticmethod
    def forward(
        ctx: Any,
        latent: Tensor,
        grid_sizes: Sequence[tuple[int, int]],
        offsets: Sequence[tuple[int, int]],
        n_features: int,
        grids_of_features: Sequence[int],
        *features: Tensor,
    ) -> Tensor:
        ctx.grid_sizes, ctx.offsets, ctx.grids_of_features = grid_sizes, offsets, grids_of_features
        n_neighbours = len(offsets)
        context = latent.new_empty(n_neighbours + n_features, len(latent))
        of_grid = dict(zip(grids_of_features, features, strict=True))
        start = 0
        for i, (height, width) in enumerate(grid_sizes):
            end = start + height * width
            padded = F.pad(latent[start:end].view(height, width), (PAD, PAD, PAD, 0))
            rows = context[:, start:end].view(-1, height, width)
            for neighbour, (dy, dx) in zip(rows[:n_neighbours], offsets, strict=True):
                neighbour.copy_(padded[PAD + dy : PAD + dy + height, PAD + dx : PAD + dx + width])
            if i in of_grid:
                rows[n_neighbours:].copy_(of_grid[i])
            else:
                rows[n_neighbours:].zero_()
            start = end
        return context

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        result = grad.new_empty(grad.shape[1]) if ctx.needs_input_grad[0] else None
        of_features: dict[int, Tensor] = {}
        n_neighbours = len(ctx.offsets)
        start = 0
        for i, (height, width) in enumerate(ctx.grid_sizes):
            end = start + height * width
            rows = grad[:, start:end].reshape(-1, height, width)
            if result is not None:
                padded = grad.new_zeros(height + PAD, width + 2 * PAD)
                for neighbour, (dy, dx) in zip(rows[:n_neighbours], ctx.offsets, strict=True):
                    padded[PAD + dy : PAD + dy + height, PAD + dx : PAD + dx + width] += neighbour
                result[start:end].view(height, width).copy_(padded[PAD:, PAD : PAD + width])
            if i in ctx.grids_of_features:
                of_features[i] = rows[n_neighbours:]
            start = end
        return (result, None, None, None, None, *(of_features[i] for i in ctx.grids_of_features))
