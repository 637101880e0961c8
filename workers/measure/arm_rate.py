"""Bits of all latents under many candidates of the arm at a time."""

from collections.abc import Callable, Sequence
from copy import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec import CoolChicParameter
from workers.codec.arm import GREATEST_LOG_SCALE, MAX_RATE_BIT, rate_bit
from workers.codec.ifce import ifce_input
from workers.codec.latent import context_offsets
from workers.measure import kernel
from workers.measure.arm_layers import layers_of_arm, layers_of_ifce
from workers.measure.cost import Parameters, Workspace
from workers.measure.latent_tiles import LatentTile, OrderedGrid

_FACTORS = 4
"""Probabilities, of at least 2^−16 each, that are multiplied before one logarithm is taken of them all."""

_POLLED = 32
"""One latent of so many is polled; with these the leader's loss was within 0.02 % of the best at 512×512."""

_LEAST_LEVEL, _MOST_LEVEL = -8, 5
"""Latents of ``2^(n−1)`` to ``2^n`` bits are on level ``n``; the lowest level takes in what is below it."""


class ArmRate:
    """Bits of all latents; see :class:`~workers.measure.cost.Cost`.

    Args:
        latents: decoder-side latents, ``[1, n_i, H_i, W_i]`` each.
        param: of their cool-chic.
        tile: latents that are evaluated together, at most.
        compiled: whether to use the compiled kernel, if there is one.
    """

    def __init__(
        self, latents: Sequence[Tensor], param: CoolChicParameter, tile: int, *, compiled: bool = True
    ) -> None:
        device = latents[0].device
        self.parallel = device.type == "cpu"
        usable = compiled and self.parallel and kernel.supports_arm(param.dim_arm)
        self._kernel = kernel.load() if usable else None
        self._workspace = Workspace(device)
        self._param = param
        self._ifce: Parameters | None = None
        self._tile = tile
        self._grids = [
            OrderedGrid.of(grid[0], ifce_input(latents, i)[0] if i in param.ifce_grids else None)
            for i, grid in enumerate(latents)
        ]
        self._offsets = context_offsets(param.context_indices)
        self.tiles = [part for i in range(len(latents)) for part in self._tiles(i, 0)]
        self.poll: list[int] = []

    def behind(self, ifce: Parameters | None) -> "ArmRate":
        """The same with the parameters of the IFCE, if there is one."""
        other = copy(self)
        other._ifce = ifce
        return other

    def _tiles(self, grid: int, begin: int) -> list[LatentTile]:
        """Tiles of a grid from some latent on."""
        end, tile = len(self._grids[grid].values), self._tile
        return [LatentTile(grid, first, min(first + tile, end)) for first in range(begin, end, tile)]

    def bits(self, parameters: Parameters) -> Callable[[LatentTile], Tensor]:
        """Bits of every latent of a tile, ``[T]``."""
        outputs = self._evaluator(layers_of_arm(self._param, [parameters], self._ifce))

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
            parts = [part for part, tile in zip(bits, self.tiles, strict=True) if tile.grid == i]
            of_grid = torch.cat([*parts, grid.values[:0]])
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
        """Bits of a tile for every candidate of the arm, ``[n_candidates, 1]``."""
        return self._bits_of(layers_of_arm(self._param, candidates, self._ifce))

    def evaluator_of_ifce(
        self, candidates: Sequence[Parameters], arm: Parameters
    ) -> Callable[[LatentTile], Tensor]:
        """Bits of a tile for every candidate of the IFCE, with the same weights, before one arm."""
        return self._bits_of(layers_of_ifce(self._param, candidates, arm))

    def _bits_of(self, layers: Sequence[kernel.ArmLayers]) -> Callable[[LatentTile], Tensor]:
        outputs = self._evaluator(layers)
        bits = self._bits if self._kernel is None else self._bits_compiled
        return lambda tile: bits(self._grids[tile.grid].values[tile.first : tile.end], outputs(tile))[:, None]

    def _evaluator(self, layers: Sequence[kernel.ArmLayers]) -> Callable[[LatentTile], Tensor]:
        """``μ`` and ``log β`` of a tile for every candidate, ``[2, n_candidates, T]``, overwritten by the next.

        Args:
            layers: of the candidates, for each grid.
        """
        if self._kernel is None:
            return lambda tile: self._outputs(tile, layers[tile.grid])
        least, made = self._param.family.least_log_scale, {}
        for of_grid in layers:  # most grids have the same
            if id(of_grid) not in made:
                made[id(of_grid)] = kernel.ArmBlock(self._kernel, of_grid, self._offsets, least)
        blocks = [made[id(of_grid)] for of_grid in layers]
        n_candidates = len(layers[0].biases[0])
        return lambda tile: self._outputs_compiled(tile, blocks[tile.grid], n_candidates)

    def _outputs_compiled(self, tile: LatentTile, block: kernel.ArmBlock, n_candidates: int) -> Tensor:
        grid = self._grids[tile.grid]
        positions = grid.positions[tile.first : tile.end]
        out = self._workspace.floats("outputs", 2, n_candidates, len(positions))
        block.outputs(grid.padded, positions, out, grid.inputs, grid.under(tile))
        return out

    def _outputs(self, tile: LatentTile, layers: kernel.ArmLayers) -> Tensor:
        """In torch: as many candidates at a time as make a tile's worth of latents, one at least."""
        context = self._contexts(tile, layers)  # [T, C]
        biases = layers.biases
        n_candidates, n_latents = len(biases[0]), len(context)
        out = self._workspace.floats("outputs", 2, n_candidates, n_latents)
        eye = torch.eye(context.shape[1], device=context.device)
        # The residual is folded in.
        weights = [*(weight + eye for weight in layers.weights[:-1]), layers.weights[-1]]
        shared = context @ weights[0].t()  # [T, C], or [T, 2] for an arm without hidden layers
        at_once = max(1, self._tile // n_latents)
        for k in range(0, n_candidates, at_once):
            some = [bias[k : k + at_once, None] for bias in biases]
            layer = shared + some[0]  # [at_once, T, C]
            for j, weight in enumerate(weights[1:], start=1):
                layer = torch.matmul(layer.relu_(), weight.t()).add_(some[j])
            out[:, k : k + at_once] = layer.permute(2, 0, 1)
        if layers.stabiliser_weight is not None and layers.stabiliser_bias is not None:
            stable = (context @ layers.stabiliser_weight.t()).t()[:, None]  # [2, 1, T]
            out += stable + layers.stabiliser_bias.t()[:, :, None]
        out[1].sub_(4).clamp_(self._param.family.least_log_scale, GREATEST_LOG_SCALE)
        return out

    def _contexts(self, tile: LatentTile, layers: kernel.ArmLayers) -> Tensor:
        """Spatial contexts of the latents of a tile, and their features, ``[T, C]``."""
        grid = self._grids[tile.grid]
        context = grid.contexts(tile, self._offsets)
        n_features = self._param.output_feature_ifce
        if not n_features:
            return context
        under = grid.under(tile)
        if grid.inputs is None or under is None or layers.feature_weight is None:
            features = context.new_zeros(len(context), n_features)
        else:
            features = F.linear(grid.inputs[:, under].t(), layers.feature_weight, layers.feature_bias)
        return torch.cat([context, features], dim=1)

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
