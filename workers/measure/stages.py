"""The stages of a frame's forward pass, each kept for as long as the candidates do not change it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from workers.codec import MODULES, Frame, FrameEncoder
from workers.measure import kernel
from workers.measure.arm_rate import ArmRate
from workers.measure.cost import Cost, Parameters, Tile
from workers.measure.options import EngineOptions
from workers.measure.parallel import Threads, one_thread
from workers.measure.synthesis_error import SynthesisError
from workers.measure.target import Target
from workers.quantize import NetworkRate, QStepPair, network_rate, quantize_kind

_KEPT_SUMS = 8


class _Quantized(NamedTuple):
    """A module's parameters of one kind, quantized with one step."""

    parameters: Parameters
    rate: NetworkRate


class Stages:
    """What a frame encoder computes, module by module, each with a pair of steps or in full precision.

    Args:
        frame_encoder: with its networks in full precision; it is not modified.
        frame: the frame it was fitted for.
        device: where to compute.
        threads: tiles that are evaluated at a time.
        options: see there.

    Attributes:
        n_grids: of the latents.
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
        self.n_grids = frame_encoder.param.n_grids
        self._options = options
        self._full_precision = {module: frame_encoder.get_network_parameters(module) for module in MODULES}
        self._upsampling = frame_encoder.upsampling
        self._quantized: dict[tuple[str, str, float], _Quantized | None] = {}
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

    def parameters(self, module: str, pair: QStepPair | None) -> Parameters:
        """A module's parameters, quantized or, without a pair, in full precision.

        Raises:
            ValueError: they overflow.
        """
        if pair is None:
            return {name: value.to(self._device) for name, value in self._full_precision[module].items()}
        weight, bias = (self._of_kind(module, kind, step) for kind, step in pair._asdict().items())
        if weight is None or bias is None:
            raise ValueError(f"{module}: the pair {pair} overflows, it cannot be settled")
        return {**weight.parameters, **bias.parameters}

    def network_rate(self, module: str, pair: QStepPair) -> tuple[NetworkRate, NetworkRate] | None:
        """Rates of a module's weights and biases; ``None`` on an overflow."""
        weight, bias = (self._of_kind(module, kind, step) for kind, step in pair._asdict().items())
        return None if weight is None or bias is None else (weight.rate, bias.rate)

    def _of_kind(self, module: str, kind: str, step: float) -> _Quantized | None:
        key = (module, kind, step)
        if key not in self._quantized:
            own = self._full_precision[module]
            values, rate = quantize_kind(own, kind, step), network_rate(own, kind, step)
            self._quantized[key] = None
            if values is not None and rate is not None:
                on_device = {name: value.to(self._device) for name, value in values.items()}
                self._quantized[key] = _Quantized(on_device, rate)
        return self._quantized[key]

    # --- the upsampling, and what follows it

    def synthesis_error(self, upsampling: QStepPair | None) -> SynthesisError:
        """Squared error of the frame, behind an upsampling; the last one asked for is kept."""
        if self._kept is None or self._kept[0] != upsampling:
            self._kept = None  # one at a time: its dense input is the largest tensor here
            dense = self._dense(self.parameters("upsampling", upsampling))
            self._kept = (upsampling, self._synthesis_error.behind(dense))
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

    # --- sums over tiles, of what is settled

    def ordered_arm_rate(self) -> tuple[ArmRate, list[float]]:
        """Bits of the latents, those first that cost most in full precision; and of each tile what it costs so."""
        if self._ordered is None:
            bits = self.arm_rate.bits(self.parameters("arm", None))
            of_tiles = self.threads.map(bits, self.arm_rate.tiles, parallel=self.arm_rate.parallel)
            self._ordered = self.arm_rate.heaviest_first(of_tiles)
        return self._ordered

    def rate_parts(self, arm: QStepPair | None) -> list[float]:
        """Bits of each tile of the latents."""
        key = ("arm", arm)
        if key not in self._sums:
            self._keep(key, self._parts(self.arm_rate, self.parameters("arm", arm)))
        return self._sums[key]

    def error_parts(self, synthesis: QStepPair | None, upsampling: QStepPair | None) -> list[float]:
        """Squared error of each tile of the frame."""
        key = ("synthesis", synthesis, upsampling)
        if key not in self._sums:
            cost = self.synthesis_error(upsampling)
            self._keep(key, self._parts(cost, self.parameters("synthesis", synthesis)))
        return self._sums[key]

    def _parts(self, cost: Cost[Tile], parameters: Parameters) -> list[float]:
        evaluate = cost.evaluator([parameters])
        return self.threads.map(lambda tile: evaluate(tile).item(), cost.tiles, parallel=cost.parallel)

    def _keep(self, key: tuple[object, ...], parts: list[float]) -> None:
        if len(self._sums) >= _KEPT_SUMS:
            self._sums.clear()
        self._sums[key] = parts


def _call(function: Callable[[], int]) -> int:
    return function()
