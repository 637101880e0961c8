"""Inter-feature contexts: what the coarser grids say of a latent, a few numbers by a linear layer for each grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.codec.arm import ArmLinear
from workers.codec.coolchic_parameter import CoolChicParameter


class GridIfce(nn.Module):
    """The linear layer of one grid, with the structure that its names have in a checkpoint."""

    def __init__(self, n_inputs: int, n_features: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(ArmLinear(n_inputs, n_features, residual=False))

    def forward(self, x: Tensor) -> Tensor:
        """``[1, n_inputs, h, w]`` to ``[1, n_features, h, w]``."""
        _, channels, height, width = x.shape
        features: Tensor = self.mlp(x.view(channels, -1).t())  # [h · w, F]
        return features.t().reshape(1, -1, height, width)


class Ifce(nn.Module):
    """Features of every latent, from the grids after its own.

    Args:
        param: of the cool-chic.
    """

    def __init__(self, param: CoolChicParameter) -> None:
        super().__init__()
        self._n_features = param.output_feature_ifce
        self._grids = param.ifce_grids
        self.arms = nn.ModuleList(GridIfce(param.n_inputs_ifce(i), self._n_features) for i in self._grids)

    def forward(self, latents: Sequence[Tensor]) -> Tensor:
        """``[N, F]``, zeros for latents of grids that have no IFCE; latents are ``[1, 1, H_i, W_i]`` each."""
        parts = [grid.new_zeros(grid.numel(), self._n_features) for grid in latents]
        for arm, i in zip(self.arms, self._grids, strict=True):
            height, width = latents[i].shape[-2:]
            features = enlarge(arm(ifce_input(latents, i)), height, width)
            parts[i] = features.reshape(self._n_features, -1).t()
        return torch.cat(parts)


def ifce_input(latents: Sequence[Tensor], grid: int) -> Tensor:
    """Input of a grid's IFCE: the grids after it, at the size of the next one; zeros for the last grid.

    Args:
        latents: ``[1, 1, H_i, W_i]`` each.
        grid: index of the grid.

    Returns:
        ``[1, n_inputs, H, W]``.
    """
    if grid == len(latents) - 1:
        return torch.zeros_like(latents[grid])
    z = latents[-1]
    for finer in reversed(latents[grid + 1 : -1]):
        height, width = finer.shape[-2:]
        if z.shape[-2:] != finer.shape[-2:]:
            z = enlarge(z, height, width)
        z = torch.cat([finer, z], dim=1)
    return z


def enlarge(x: Tensor, height: int, width: int) -> Tensor:
    """Every number twice along both axes of ``[1, C, h, w]``, cut at the bottom and on the right."""
    return F.interpolate(x, scale_factor=2, mode="nearest")[..., :height, :width]
