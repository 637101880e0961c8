"""The stages of a frame's forward pass: what each output of the plan adds up, with any networks in force."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from workers.candidates import RESIDUE
from workers.codec import Frame, FrameEncoder
from workers.codec.network import Effect
from workers.measure.cost import Cost, Parameters, Sums, Tile
from workers.measure.network_parameters import InForce, NetworkParameters
from workers.measure.options import EngineOptions
from workers.measure.parallel import Threads
from workers.measure.picture_stage import PictureStage
from workers.measure.plan import Output, Plan
from workers.measure.rate_stage import RateStage
from workers.measure.target import Target
from workers.objective.metric import PlaneWeights, total

_KEPT_SUMS = 8

ZEROS: Mapping[Effect, Sums] = {Effect.RATE: (0.0,), Effect.PICTURE: (0.0, 0.0, 0.0)}
"""What an output adds up of no tile at all: bits, or squared errors of the planes."""


class Stages:
    """What a frame encoder computes, each network with a pair of steps or in full precision.

    Args:
        frame_encoder: with its networks in full precision; it is not modified.
        frame: the frame it was fitted for.
        device: where to compute.
        threads: tiles that are evaluated at a time.
        options: how candidates are measured.
        weigh: the planes of the picture.

    Attributes:
        plan: which network changes what.
        parameters: of the networks.
        threads: that evaluate the tiles.
        target: the original frame.
    """

    def __init__(
        self,
        frame_encoder: FrameEncoder,
        frame: Frame,
        device: torch.device,
        threads: int,
        options: EngineOptions,
        weigh: PlaneWeights,
    ) -> None:
        self._coolchics = frame_encoder.coolchics
        self.plan = Plan(frame_encoder.networks)
        self._options = options
        self.parameters = NetworkParameters(frame_encoder, device)
        self.threads = Threads(threads)
        with torch.inference_mode():
            self._latents = {
                name: [grid.to(device) for grid in coolchic.decoder_side_latents()]
                for name, coolchic in self._coolchics.items()
            }
            self.target = Target(frame, device, frame_encoder.family.chroma, weigh)
        self.cut_into_tiles(options.tile_for(frame_encoder.param, device, threads))

    def cut_into_tiles(self, tile: int) -> None:
        """Begin anew with tiles of so many latents, or pixels."""
        compiled = self._options.compiled
        self.tile = tile
        self._rates: dict[str, RateStage] = {}
        self._sums: dict[tuple[object, ...], list[Sums]] = {}
        for output in self.plan.outputs:
            name = output.network.coolchic
            latents, coolchic = self._latents[name], self._coolchics[name]
            if output.effect is Effect.RATE:
                self._rates[name] = RateStage(output, coolchic.param, latents, tile, compiled=compiled)
            else:
                self._picture = PictureStage(
                    output, self._coolchics[RESIDUE], latents, self.target, tile, self.threads, compiled=compiled
                )

    # --- what is summed up over tiles

    def cost(self, output: Output, network: str, in_force: InForce) -> Cost[Any]:
        """What an output adds up for candidates of one of its networks."""
        if output.effect is Effect.RATE:
            return self._rates[output.network.coolchic].cost(network, self._parameters_in(in_force))
        return self._picture_error(output, in_force)

    def contest(self, output: Output, network: str, in_force: InForce) -> tuple[Cost[Any], list[float]]:
        """The same in an order in which candidates differ early.

        Returns:
            The cost; and about what each tile adds, with the weights of the planes.
        """
        if output.effect is Effect.RATE:
            stage = self._rates[output.network.coolchic]
            return stage.contest(network, self._parameters_in(in_force), self._parameters_in({}), self.threads)
        others = {name: pair for name, pair in in_force.items() if name != network}
        return self._picture_error(output, in_force), self.weighted_parts(output, others)

    def weighted_parts(self, output: Output, in_force: InForce) -> list[float]:
        """What each tile adds to an output: bits, or squared errors with the weights of their planes."""
        weights = self.target.weights if output.effect is Effect.PICTURE else (1.0,)
        return [total(weights, part) for part in self.parts(output, in_force)]

    def parts(self, output: Output, in_force: InForce) -> list[Sums]:
        """What each tile adds to an output."""
        network = output.network.id
        key = (network, *(in_force.get(spec.id) for spec in (output.network, *output.upstream)))
        if key not in self._sums:
            parameters = self.parameters.of(network, in_force.get(network))
            parts = self._parts(self.cost(output, network, in_force), parameters)
            if len(self._sums) >= _KEPT_SUMS:
                self._sums.clear()
            self._sums[key] = parts
        return self._sums[key]

    def rate_of_grids(self, in_force: InForce) -> tuple[float, ...]:
        """Bits of the latents of each grid, cool-chic after cool-chic."""
        rates = []
        for output in self.plan.outputs:
            if output.effect is Effect.RATE:
                name = output.network.coolchic
                of_grids = [0.0] * len(self._latents[name])
                for tile, (bits,) in zip(self._rates[name].tiles, self.parts(output, in_force), strict=True):
                    of_grids[tile.grid] += bits
                rates += of_grids
        return tuple(rates)

    def _parts(self, cost: Cost[Tile], parameters: Parameters) -> list[Sums]:
        evaluate = cost.evaluator([parameters])
        return self.threads.map(lambda tile: tuple(evaluate(tile)[0].tolist()), cost.tiles, parallel=cost.parallel)

    def _picture_error(self, output: Output, in_force: InForce) -> Cost[Any]:
        (upsampling,) = output.upstream
        return self._picture.cost(in_force.get(upsampling.id), self._parameters_in(in_force))

    def _parameters_in(self, in_force: InForce) -> Callable[[str], Parameters]:
        return partial(_in_force, self.parameters, in_force)


def _in_force(parameters: NetworkParameters, in_force: InForce, network: str) -> Parameters:
    return parameters.of(network, in_force.get(network))
