"""The stages of a frame's forward pass, each kept for as long as the candidates do not change it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workers.candidates import Kind, QStepPair
from workers.codec import Frame, FrameEncoder
from workers.codec.network import Effect
from workers.codec.quantization import quantize_tensors
from workers.measure import kernel
from workers.measure.arm_rate import ArmRate
from workers.measure.cost import Cost, Parameters, Tile
from workers.measure.options import EngineOptions
from workers.measure.parallel import Threads, one_thread
from workers.measure.plan import Output, Plan
from workers.measure.synthesis_error import SynthesisError
from workers.measure.target import Target
from workers.objective.network_rate import NetworkRate, network_rate

InForce = Mapping[str, QStepPair]
"""Pairs of steps that networks are quantized with, by id; those that are not named are in full precision."""

_KEPT_SUMS = 8


class _Quantized(NamedTuple):
    """A network's parameters of one kind, quantized with one step."""

    parameters: Parameters
    rate: NetworkRate


class Stages:
    """What a frame encoder computes, each network with a pair of steps or in full precision.

    Args:
        frame_encoder: with its networks in full precision; it is not modified.
        frame: the frame it was fitted for.
        device: where to compute.
        threads: tiles that are evaluated at a time.
        options: how candidates are measured.

    Attributes:
        plan: which network changes what.
        n_grids: number of latent grids.
        threads: that evaluate the tiles.
        target: the original frame.
        arm_rate: bits of the latents.
    """

    def __init__(
        self,
        frame_encoder: FrameEncoder,
        frame: Frame,
        device: torch.device,
        threads: int,
        options: EngineOptions,
    ) -> None:
        self._device = device
        self._param = frame_encoder.param
        self._specs = {spec.id: spec for spec in frame_encoder.networks}
        self.plan = Plan(frame_encoder.networks)
        self.n_grids = frame_encoder.param.n_grids
        self._options = options
        self._full_precision = {name: frame_encoder.get_network_parameters(name) for name in self._specs}
        self._upsampling = frame_encoder.upsampling
        self._quantized: dict[tuple[str, Kind, float], _Quantized | None] = {}
        self.threads = Threads(threads)
        with torch.inference_mode():
            self._latents = [grid.to(device) for grid in frame_encoder.decoder_side_latents()]
            self.target = Target(frame, device)
        self.cut_into_tiles(options.tile_for(self._param, device, threads))

    def cut_into_tiles(self, tile: int) -> None:
        """Begin anew with tiles of so many latents, or pixels."""
        param, compiled = self._param, self._options.compiled
        self.tile = tile
        self.arm_rate = ArmRate(self._latents, param.dim_arm, param.n_hidden_layers_arm, tile, compiled=compiled)
        self._synthesis_error = SynthesisError(
            param.n_grids, param.layers_synthesis, self.target, tile, compiled=compiled
        )
        self._kept: tuple[QStepPair | None, SynthesisError] | None = None
        self._ordered: tuple[ArmRate, list[float]] | None = None
        self._sums: dict[tuple[object, ...], list[float]] = {}

    # --- parameters

    def parameters(self, network: str, pair: QStepPair | None) -> Parameters:
        """A network's parameters, quantized or, without a pair, in full precision.

        Raises:
            ValueError: they overflow.
        """
        if pair is None:
            return {name: value.to(self._device) for name, value in self._full_precision[network].items()}
        weight, bias = self._of_kind(network, "weight", pair.weight), self._of_kind(network, "bias", pair.bias)
        if weight is None or bias is None:
            raise ValueError(f"{network}: the pair {pair} overflows, it cannot be chosen")
        return {**weight.parameters, **bias.parameters}

    def network_rate(self, network: str, pair: QStepPair) -> tuple[NetworkRate, NetworkRate] | None:
        """Rates of a network's weights and biases; ``None`` on an overflow."""
        weight, bias = self._of_kind(network, "weight", pair.weight), self._of_kind(network, "bias", pair.bias)
        return None if weight is None or bias is None else (weight.rate, bias.rate)

    def _of_kind(self, network: str, kind: Kind, step: float) -> _Quantized | None:
        key = (network, kind, step)
        if key not in self._quantized:
            own = {name: self._full_precision[network][name] for name in self._specs[network].names(kind)}
            values, rate = quantize_tensors(own, step), network_rate(own, step, self._param.family.exp_golomb)
            self._quantized[key] = None
            if values is not None and rate is not None:
                on_device = {name: value.to(self._device) for name, value in values.items()}
                self._quantized[key] = _Quantized(on_device, rate)
        return self._quantized[key]

    def biases(self, network: str, parameters: Parameters) -> bytes:
        """The biases of a candidate that its evaluation depends on: equal bytes, equal numbers."""
        spec = self._specs[network]
        used = () if "bias" in spec.ignored else spec.biases
        return b"".join(parameters[name].cpu().numpy().tobytes() for name in used)

    # --- what is summed up over tiles

    def cost(self, output: Output, in_force: InForce) -> Cost[Any]:
        """What an output adds up, its last network still to be given."""
        return self.arm_rate if output.effect is Effect.RATE else self._picture_error(output, in_force)

    def contest(self, output: Output, in_force: InForce) -> tuple[Cost[Any], list[float]]:
        """The same in an order in which candidates of the last network differ early.

        Returns:
            The cost; and what each tile adds with that network in full precision.
        """
        if output.effect is Effect.RATE:
            return self._ordered_rate(output)
        upstream = {name: pair for name, pair in in_force.items() if name != output.network.id}
        return self._picture_error(output, in_force), self.parts(output, upstream)

    def parts(self, output: Output, in_force: InForce) -> list[float]:
        """What each tile adds to an output."""
        depends = (output.network, *output.upstream)
        key = (output.network.id, *(in_force.get(spec.id) for spec in depends))
        if key not in self._sums:
            parameters = self.parameters(output.network.id, in_force.get(output.network.id))
            parts = self._parts(self.cost(output, in_force), parameters)
            if len(self._sums) >= _KEPT_SUMS:
                self._sums.clear()
            self._sums[key] = parts
        return self._sums[key]

    def _parts(self, cost: Cost[Tile], parameters: Parameters) -> list[float]:
        evaluate = cost.evaluator([parameters])
        return self.threads.map(lambda tile: evaluate(tile).item(), cost.tiles, parallel=cost.parallel)

    def _ordered_rate(self, output: Output) -> tuple[ArmRate, list[float]]:
        """Bits of the latents, those first that cost most in full precision; and of each tile what it costs so."""
        if self._ordered is None:
            bits = self.arm_rate.bits(self.parameters(output.network.id, None))
            of_tiles = self.threads.map(bits, self.arm_rate.tiles, parallel=self.arm_rate.parallel)
            self._ordered = self.arm_rate.heaviest_first(of_tiles)
        return self._ordered

    def _picture_error(self, output: Output, in_force: InForce) -> SynthesisError:
        """Squared error of the frame, for one input of the synthesis; the last one asked for is kept."""
        (upsampling,) = output.upstream
        pair = in_force.get(upsampling.id)
        if self._kept is None or self._kept[0] != pair:
            self._kept = None  # one at a time: its dense input is the largest tensor here
            dense = self._dense(self.parameters(upsampling.id, pair))
            self._kept = (pair, self._synthesis_error.behind(dense))
        return self._kept[1]

    def _dense(self, parameters: Parameters) -> Tensor:
        """Input of the synthesis, ``[L, H, W]``."""
        library = self._synthesis_error.fast_kernel
        if library is not None:
            sizes = (self._param.ups_k_size, self._param.ups_preconcat_k_size)
            run = partial(self.threads.map, _call)
            return kernel.upsample(library, parameters, sizes, self._latents, run)
        with one_thread():  # gives the bits of two, unlike more
            dense: Tensor = torch.func.functional_call(self._upsampling, dict(parameters), (self._latents,))
        return dense[0]


def _call(function: Callable[[], int]) -> int:
    return function()
