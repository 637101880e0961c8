"""Bits of all latents under many candidates of the arm at a time."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec.arm import MAX_RATE_BIT
from workers.codec.latent import PAD, context_offsets
from workers.measure import kernel
from workers.measure.cost import Parameters, Workspace, stack

_FACTORS = 4
"""Probabilities, of at least 2^−16 each, that are multiplied before one logarithm is taken of them all."""


class LatentTile(NamedTuple):
    """Some whole rows of one latent grid."""

    grid: int
    top: int
    rows: int


class ArmRate:
    """Bits of all latents; see :class:`~workers.measure.cost.Cost`.

    Args:
        latents: decoder-side latents, ``[1, 1, H_i, W_i]`` each.
        dim_arm: number of causal neighbours ``C``.
        n_hidden_layers: of the arm.
        tile: latents that are evaluated together, at least a row of them.
        compiled: whether to use the compiled kernel, if there is one.
    """

    def __init__(
        self, latents: Sequence[Tensor], dim_arm: int, n_hidden_layers: int, tile: int, *, compiled: bool = True
    ) -> None:
        device = latents[0].device
        self.parallel = device.type == "cpu"
        self._kernel = kernel.load() if compiled and self.parallel else None
        self._workspace = Workspace(device)
        self._latents = [grid[0, 0] for grid in latents]
        self._padded = [_pad(grid) for grid in self._latents]
        self._offsets = context_offsets(dim_arm)
        self._names = [f"mlp.{2 * j}" for j in range(n_hidden_layers + 1)]
        self.tiles = [
            LatentTile(i, top, min(rows, len(grid) - top))
            for i, grid in enumerate(self._latents)
            for rows in [max(1, tile // grid.shape[1])]
            for top in range(0, len(grid), rows)
        ]

    def evaluator(self, candidates: Sequence[Parameters]) -> Callable[[LatentTile], Tensor]:
        """Bits of a tile for every candidate."""
        weights = [candidates[0][f"{name}.weight"] for name in self._names]
        biases = [stack(candidates, f"{name}.bias") for name in self._names]  # [n_candidates, out] each
        if self._kernel is not None:
            block = kernel.ArmBlock(self._kernel, weights, biases, self._offsets)
            return lambda tile: self._bits_compiled(tile, block, len(candidates))
        eye = torch.eye(len(self._offsets), device=weights[0].device)
        weights = [weight + eye for weight in weights[:-1]] + weights[-1:]  # the residual is folded in
        return lambda tile: self._bits(tile, self._outputs(tile, weights, biases))

    def _bits_compiled(self, tile: LatentTile, block: kernel.ArmBlock, n_candidates: int) -> Tensor:
        latents = self._of_tile(tile)
        width, n_latents = self._latents[tile.grid].shape[1], len(latents)
        outputs = self._workspace.floats("outputs", 2, n_candidates, n_latents)
        block.outputs(self._padded[tile.grid], tile.top, tile.rows, width, PAD, outputs)
        mu, scale = outputs[0], outputs[1].exp_()
        expm1 = self._workspace.floats("expm1", 2, n_candidates, n_latents)
        block.arguments(latents, mu, scale, expm1)
        products = self._workspace.floats("products", n_candidates, -(-n_latents // 4))
        block.products(latents, mu, expm1.expm1_(), products)
        return products.log2_().sum(dim=1, dtype=torch.float64).neg_()

    def _of_tile(self, tile: LatentTile) -> Tensor:
        return self._latents[tile.grid][tile.top : tile.top + tile.rows].reshape(-1)

    def _outputs(self, tile: LatentTile, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
        """``μ`` and ``s`` for every candidate, ``[2, n_candidates, T]``."""
        context = self._contexts(tile)  # [T, C]
        n_candidates, (n_latents, dim) = len(biases[0]), context.shape
        if len(weights) == 1:
            return (biases[0][:, :, None] + weights[0] @ context.t()).transpose(0, 1)
        shared = context @ weights[0].t()  # [T, C]
        hidden = self._workspace.floats("hidden", n_candidates, n_latents, dim)
        torch.add(shared, biases[0][:, None], out=hidden).relu_()
        for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
            following = self._workspace.floats("following", n_candidates, n_latents, dim)
            torch.matmul(hidden, weight.t(), out=following)
            hidden = following.add_(bias[:, None]).relu_()
        out = torch.matmul(hidden, weights[-1].t()).add_(biases[-1][:, None])  # [n_candidates, T, 2]
        return out.permute(2, 0, 1).contiguous()

    def _contexts(self, tile: LatentTile) -> Tensor:
        padded, width = self._padded[tile.grid], self._latents[tile.grid].shape[1]
        neighbours = [
            padded[PAD + tile.top + dy : PAD + tile.top + dy + tile.rows, PAD + dx : PAD + dx + width].reshape(-1)
            for dy, dx in self._offsets
        ]
        return torch.stack(neighbours, dim=1)

    def _bits(self, tile: LatentTile, outputs: Tensor) -> Tensor:
        """Bits of a tile for every candidate, from the outputs of the arm, which are overwritten."""
        latent = self._of_tile(tile)
        mu, log_scale = outputs
        scale = log_scale.sub_(4).clamp_(-4.6, 5.0).exp_()
        upper = torch.sub(latent + 0.5, mu, out=self._workspace.floats("upper", *mu.shape))
        lower = torch.sub(latent - 0.5, mu, out=mu)
        sign = self._workspace.floats("sign", *mu.shape)
        probability = _cdf(upper, scale, sign).sub_(_cdf(lower, scale, sign))  # [n_candidates, T]
        probability.clamp_min_(2.0**-MAX_RATE_BIT)
        remainder = -probability.shape[1] % _FACTORS
        if remainder:
            probability = F.pad(probability, (0, remainder), value=1.0)
        factors = probability.view(len(probability), _FACTORS, -1)
        product = factors[:, 0]
        for i in range(1, _FACTORS):
            product *= factors[:, i]
        return product.log2_().sum(dim=1, dtype=torch.float64).neg_()


def _pad(grid: Tensor) -> Tensor:
    """``[H, W]`` with zeros around it, and some more behind it, where the kernel's last load may reach."""
    height, width = grid.shape[0] + 2 * PAD, grid.shape[1] + 2 * PAD
    flat = grid.new_zeros(height * width + 16)
    padded = flat[: height * width].view(height, width)
    padded[PAD:-PAD, PAD:-PAD] = grid
    return padded


def _cdf(shifted: Tensor, scale: Tensor, sign: Tensor) -> Tensor:
    """Laplace cdf at ``x − μ``, written over it; the operations of the codec's, one for one, without temporaries.

    Where the weights are few integers the same rounding error stands in thousands of latents: another order of
    operations shows in the sum.
    """
    torch.sign(shifted, out=sign)
    return shifted.abs_().neg_().div_(scale).expm1_().mul_(sign.mul_(0.5)).neg_().add_(0.5)
