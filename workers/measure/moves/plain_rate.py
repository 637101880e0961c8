"""Bits of the latents in exact sums, with torch: all of them are computed for every move."""

from collections.abc import Sequence

import torch

from workers.measure.moves.fixed_point import RATE_UNIT, latent_bits, to_multiple
from workers.measure.moves.parameters import Edit, edited
from workers.measure.moves.rate_layers import RateLayers, RateParameters, weight_and_bias
from workers.measure.moves.rate_source import GridContexts, RateSource, zeros


class PlainRate:
    """Measures moves as :class:`~workers.measure.moves.kernel.rate.RateKernel` does, without the kernel.

    Args:
        source: latents and contexts.
        layers: of the networks.
        parameters: that it begins with.
        of_features: whether the network that moves is the one that gives features.
    """

    def __init__(
        self, source: RateSource, layers: RateLayers, parameters: RateParameters, *, of_features: bool
    ) -> None:
        self._source, self._layers, self._parameters = source, layers, parameters
        self._of_features = of_features
        self.cost = latent_cost(source, layers, parameters)

    def _after(self, move: Sequence[Edit]) -> RateParameters:
        module, features = self._parameters
        if self._of_features:
            return RateParameters(module, edited(features, move))
        return RateParameters(edited(module, move), features)

    def measure(self, moves: Sequence[Sequence[Edit]]) -> list[int]:
        """Bits after each of some moves."""
        return [latent_cost(self._source, self._layers, self._after(move)) for move in moves]

    def screen(self, moves: Sequence[Sequence[Edit]]) -> list[int]:
        """Estimated change of the bits, from some tiles."""
        source, (n_all, n_poll) = self._source, self._source.poll_ratio
        tiles = [source.tiles[i] for i in source.poll]

        def cost(parameters: RateParameters) -> int:
            return sum(_cost(source, self._layers, parameters, tile) for tile in tiles)

        before = cost(self._parameters)
        return [(cost(self._after(move)) - before) * n_all // n_poll for move in moves]

    def accept(self, move: Sequence[Edit]) -> None:
        """Make a move."""
        self._parameters = self._after(move)
        self.cost = latent_cost(self._source, self._layers, self._parameters)


def latent_cost(source: RateSource, layers: RateLayers, parameters: RateParameters) -> int:
    """Bits of all latents of a cool-chic, in units of 2^-16."""
    return sum(_cost(source, layers, parameters, grid) for grid in source.grids)


def _cost(source: RateSource, layers: RateLayers, parameters: RateParameters, grid: GridContexts) -> int:
    context = torch.cat([grid.spatial, zeros(source.n_features, len(grid.latents))])
    if grid.inputs is not None:
        weight, bias = weight_and_bias(parameters.features, layers.features[grid.feature_layer])
        context[source.n_spatial :] = to_multiple(weight @ grid.inputs + bias[:, None], RATE_UNIT)
    h = context
    *hidden, last = layers.module
    for layer in hidden:
        weight, bias = weight_and_bias(parameters.module, layer)
        h = to_multiple(((weight @ h + bias[:, None]) + h).clamp_min(0), RATE_UNIT)
    weight, bias = weight_and_bias(parameters.module, last)
    raw = weight @ h
    if layers.stabiliser is not None:
        branch, more = weight_and_bias(parameters.module, layers.stabiliser)
        raw, bias = raw + branch @ context, bias + more
    mu, log_scale = to_multiple(raw + bias[:, None], RATE_UNIT)
    bits = latent_bits(grid.latents, mu, log_scale, source.least_log_scale)
    return round((bits / RATE_UNIT).sum().item())
