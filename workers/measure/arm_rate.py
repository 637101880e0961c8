"""Bits of all latents under many candidates of the arm at a time."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec.arm import MAX_RATE_BIT, rate_bit
from workers.codec.latent import PAD, context_offsets
from workers.measure import kernel
from workers.measure.cost import Parameters, Workspace, stack

_FACTORS = 4
"""Probabilities, of at least 2^−16 each, that are multiplied before one logarithm is taken of them all."""

_POLLED = 32
"""One latent of so many is polled; with these the leader's loss was within 0.02 % of the best at 512×512."""

_LEAST_LEVEL, _MOST_LEVEL = -8, 5
"""Latents of ``2^(n−1)`` to ``2^n`` bits are on level ``n``; the lowest level takes in what is below it."""


class LatentTile(NamedTuple):
    """Some latents of one grid, as they follow each other there."""

    grid: int
    first: int
    end: int


class _Grid(NamedTuple):
    """A latent grid, and an order of its latents.

    Attributes:
        padded: the grid with zeros around it, ``[H_i + 8, W_i + 8]``.
        positions: flat index of each latent in it, ``[N_i]`` int64.
        values: the latents, ``[N_i]``.
    """

    padded: Tensor
    positions: Tensor
    values: Tensor

    @classmethod
    def of(cls, grid: Tensor) -> "_Grid":
        """A grid ``[H_i, W_i]`` in raster order."""
        height, width = grid.shape[0] + 2 * PAD, grid.shape[1] + 2 * PAD
        padded = F.pad(grid, (PAD, PAD, PAD, PAD))
        index = torch.arange(height * width, device=grid.device).view(height, width)
        positions = index[PAD:-PAD, PAD:-PAD].flatten()
        # What is one wide is flattened without a copy, and then its elements do not follow each other.
        return cls(padded.contiguous(), positions.contiguous(), grid.flatten().contiguous())

    def ordered(self, order: Tensor) -> "_Grid":
        """The same in another order."""
        return self._replace(positions=self.positions[order], values=self.values[order])

    def contexts(self, tile: LatentTile, offsets: Sequence[tuple[int, int]]) -> Tensor:
        """Neighbours of the latents of a tile, ``[T, C]``."""
        stride = self.padded.stride(0)
        shifts = torch.tensor([dy * stride + dx for dy, dx in offsets], device=self.padded.device)
        return self.padded.view(-1)[self.positions[tile.first : tile.end, None] + shifts]


class ArmRate:
    """Bits of all latents; see :class:`~workers.measure.cost.Cost`.

    Args:
        latents: decoder-side latents, ``[1, 1, H_i, W_i]`` each.
        dim_arm: number of causal neighbours ``C``.
        n_hidden_layers: of the arm.
        tile: latents that are evaluated together, at most.
        compiled: whether to use the compiled kernel, if there is one.
    """

    def __init__(
        self, latents: Sequence[Tensor], dim_arm: int, n_hidden_layers: int, tile: int, *, compiled: bool = True
    ) -> None:
        device = latents[0].device
        self.parallel = device.type == "cpu"
        self._kernel = kernel.load() if compiled and self.parallel else None
        self._workspace = Workspace(device)
        self._tile = tile
        self._grids = [_Grid.of(grid[0, 0]) for grid in latents]
        self._offsets = context_offsets(dim_arm)
        self._names = [f"mlp.{2 * j}" for j in range(n_hidden_layers + 1)]
        self.tiles = [part for i in range(len(latents)) for part in self._tiles(i, 0)]
        self.poll: list[int] = []

    def _tiles(self, grid: int, begin: int) -> list[LatentTile]:
        """Tiles of a grid from some latent on."""
        end, tile = len(self._grids[grid].values), self._tile
        return [LatentTile(grid, first, min(first + tile, end)) for first in range(begin, end, tile)]

    def bits(self, parameters: Parameters) -> Callable[[LatentTile], Tensor]:
        """Bits of every latent of a tile, ``[T]``."""
        outputs = self._evaluator([parameters])

        def of_tile(tile: LatentTile) -> Tensor:
            mu, log_scale = outputs(tile)[:, 0]
            return rate_bit(self._grids[tile.grid].values[tile.first : tile.end], mu, log_scale.exp())

        return of_tile

    def heaviest_first(self, bits: Sequence[Tensor]) -> tuple["ArmRate", list[float]]:
        """The same with the latents of each grid in another order: a poll, then those that cost the most bits.

        Args:
            bits: of the latents, tile by tile.

        Returns:
            Itself reordered; and the bits of each tile then.
        """
        other = copy(self)
        other._grids, other.tiles, other.poll, sums = [], [], [], []
        for i, grid in enumerate(self._grids):
            of_grid = torch.cat([part for part, tile in zip(bits, self.tiles, strict=True) if tile.grid == i])
            level = torch.frexp(of_grid).exponent.clamp_(_LEAST_LEVEL, _MOST_LEVEL)
            place = (_MOST_LEVEL + 1 - level).to(torch.uint8)  # bytes are sorted many times faster
            polled = place[_POLLED // 2 :: _POLLED].zero_()
            # Within a level, latents that lie side by side stay so.
            order = place.sort(stable=True).indices
            other._grids.append(grid.ordered(order))
            tiles = other._tiles(i, len(polled))
            if len(polled):
                other.poll.append(len(other.tiles))
                tiles.insert(0, LatentTile(i, 0, len(polled)))
            other.tiles += tiles
            sums += [of_grid[order[tile.first : tile.end]].sum(dtype=torch.float64).item() for tile in tiles]
        return other, sums

    def evaluator(self, candidates: Sequence[Parameters]) -> Callable[[LatentTile], Tensor]:
        """Bits of a tile for every candidate."""
        outputs = self._evaluator(candidates)
        bits = self._bits if self._kernel is None else self._bits_compiled
        return lambda tile: bits(self._grids[tile.grid].values[tile.first : tile.end], outputs(tile))

    def _evaluator(self, candidates: Sequence[Parameters]) -> Callable[[LatentTile], Tensor]:
        """``μ`` and ``log β`` of a tile for every candidate, ``[2, n_candidates, T]``, overwritten by the next."""
        weights = [candidates[0][f"{name}.weight"] for name in self._names]
        biases = [stack(candidates, f"{name}.bias") for name in self._names]  # [n_candidates, out] each
        if self._kernel is not None:
            block = kernel.ArmBlock(self._kernel, weights, biases, self._offsets)
            return lambda tile: self._outputs_compiled(tile, block, len(candidates))
        eye = torch.eye(len(self._offsets), device=weights[0].device)
        weights = [weight + eye for weight in weights[:-1]] + weights[-1:]  # the residual is folded in
        return lambda tile: self._outputs(tile, weights, biases)

    def _outputs_compiled(self, tile: LatentTile, block: kernel.ArmBlock, n_candidates: int) -> Tensor:
        grid = self._grids[tile.grid]
        positions = grid.positions[tile.first : tile.end]
        out = self._workspace.floats("outputs", 2, n_candidates, len(positions))
        block.outputs(grid.padded, positions, out)
        return out

    def _outputs(self, tile: LatentTile, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
        """In torch: as many candidates at a time as make a tile's worth of latents, one at least."""
        context = self._grids[tile.grid].contexts(tile, self._offsets)  # [T, C]
        n_candidates, n_latents = len(biases[0]), len(context)
        out = self._workspace.floats("outputs", 2, n_candidates, n_latents)
        shared = context @ weights[0].t()  # [T, C], or [T, 2] for an arm without hidden layers
        at_once = max(1, self._tile // n_latents)
        for k in range(0, n_candidates, at_once):
            some = [bias[k : k + at_once, None] for bias in biases]
            layer = shared + some[0]  # [at_once, T, C]
            for j, weight in enumerate(weights[1:], start=1):
                layer = torch.matmul(layer.relu_(), weight.t()).add_(some[j])
            out[:, k : k + at_once] = layer.permute(2, 0, 1)
        out[1].sub_(4).clamp_(-4.6, 5.0)
        return out

    def _bits_compiled(self, latents: Tensor, outputs: Tensor) -> Tensor:
        """Bits of some latents for every candidate, from the outputs of the arm, which are overwritten."""
        assert self._kernel is not None
        mu, scale = outputs[0], outputs[1].exp_()
        expm1 = self._workspace.floats("expm1", 2, *mu.shape)
        kernel.laplace_arguments(self._kernel, latents, mu, scale, expm1)
        products = self._workspace.floats("products", len(mu), -(-len(latents) // 4))
        kernel.probability_products(self._kernel, latents, mu, expm1.expm1_(), products)
        return products.log2_().sum(dim=1, dtype=torch.float64).neg_()

    def _bits(self, latents: Tensor, outputs: Tensor) -> Tensor:
        """The same in torch."""
        mu, scale = outputs[0], outputs[1].exp_()
        upper = torch.sub(latents + 0.5, mu, out=self._workspace.floats("upper", *mu.shape))
        lower = torch.sub(latents - 0.5, mu, out=mu)
        sign = self._workspace.floats("sign", *mu.shape)
        probability = _cdf(upper, scale, sign).sub_(_cdf(lower, scale, sign))  # [n_candidates, T]
        probability.clamp_min_(2.0**-MAX_RATE_BIT)
        probability = F.pad(probability, (0, -len(latents) % _FACTORS), value=1.0)
        product = probability.view(len(probability), _FACTORS, -1).prod(dim=1)
        return product.log2_().sum(dim=1, dtype=torch.float64).neg_()


def _cdf(shifted: Tensor, scale: Tensor, sign: Tensor) -> Tensor:
    """Laplace cdf at ``x − μ``, written over it; the operations of the codec's, one for one, without temporaries.

    Where the weights are few integers the same rounding error stands in thousands of latents: another order of
    operations shows in the sum.
    """
    torch.sign(shifted, out=sign)
    return shifted.abs_().neg_().div_(scale).expm1_().mul_(sign.mul_(0.5)).neg_().add_(0.5)
