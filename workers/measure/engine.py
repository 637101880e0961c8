"""The engine: rate–distortion rows of candidate pairs, recomputing only what a candidate can change.

Of the forward pass (§2 of the format) a candidate of

- ``arm`` changes the bits of the latents alone;
- ``synthesis`` changes the decoded frame alone, from a dense input that is the same for all of them;
- ``upsampling`` changes the decoded frame alone.

Network rates need no forward pass. Candidates that share their weight step are evaluated as a block: the first
matrix product is theirs together, in tiles that stay in the cache.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby

import torch
from torch import Tensor

from workers.codec import Frame, FrameEncoder, check_match
from workers.measure.arm_rate import rate_latent_bit
from workers.measure.row import Measured, RDRow
from workers.measure.synthesis_error import Target, mean_squared_errors
from workers.plain import plain_arithmetic
from workers.quantize import (
    Choices,
    Counts,
    NetworkRate,
    QStepPair,
    network_rate,
    quantize_parameters,
)

TILE = 4096
"""Latents, or pixels, that are evaluated together: with them a block's buffers stay in a core's cache."""

SMALL_FRAME = 1 << 15
"""Up to so many samples the synthesis is evaluated plainly, candidate by candidate: it costs no more there, and
one sample that falls to the other side of a rounding, for want of the same order of operations, weighs more."""

Parameters = Mapping[str, Tensor]


class Measurer:
    """Measures candidates for one frame.

    It keeps what it computed for the settled choices it was last asked about, and nothing else: a call gives the
    same rows whatever was asked before.

    Args:
        frame_encoder: with its networks in full precision; it is not modified.
        frame: the frame it was fitted for.
        lmbda: weight of the rate.
        device: where to compute.
        tile: latents, or pixels, that are evaluated together.

    Raises:
        MismatchError: the frame encoder was fitted for a frame of another size or format.
    """

    def __init__(
        self,
        frame_encoder: FrameEncoder,
        frame: Frame,
        lmbda: float,
        *,
        device: torch.device | str = "cpu",
        tile: int = TILE,
    ) -> None:
        check_match(frame, frame_encoder)
        self._device = torch.device(device)
        self._param = frame_encoder.param
        self._full_precision = {
            module: frame_encoder.get_network_parameters(module) for module in ("arm", "synthesis", "upsampling")
        }
        self._upsampling = frame_encoder.upsampling
        self._synthesis = frame_encoder.synthesis
        self._lmbda = lmbda
        self._tile = tile
        with torch.inference_mode():
            self._latents = [grid.to(self._device) for grid in frame_encoder.decoder_side_latents()]
            self._target = Target(frame, self._device)
        self._dense: tuple[QStepPair | None, Tensor] | None = None
        self._rates: dict[QStepPair | None, float] = {}
        self._errors: dict[tuple[QStepPair | None, QStepPair | None], float] = {}
        self._network_rates: dict[tuple[str, str, float], NetworkRate | None] = {}

    def measure(self, choices: Choices, module: str, pairs: Sequence[QStepPair]) -> list[RDRow]:
        """Rows of some candidates of a module.

        Args:
            choices: modules that have been settled, and so are quantized; the others are in full precision.
            module: the module to quantize with each pair.
            pairs: the candidates.

        Returns:
            One row per pair, in the order given.
        """
        rows: dict[QStepPair, RDRow] = {}
        feasible = []
        for pair in dict.fromkeys(pairs):
            if self._network_rate(module, pair) is None:
                rows[pair] = RDRow(module, pair, "overflow")
            else:
                feasible.append(pair)
        with torch.inference_mode(), _full_precision():
            for _, group in groupby(feasible, key=lambda pair: pair.weight):
                block = list(group)
                start = time.perf_counter()
                numbers = self._measure_block(choices, module, block)
                seconds = (time.perf_counter() - start) / len(block)
                for pair, (rate, mse) in zip(block, numbers, strict=True):
                    rows[pair] = self._row(choices, module, pair, rate, mse, seconds)
        return [rows[pair] for pair in pairs]

    def _measure_block(
        self, choices: Choices, module: str, block: Sequence[QStepPair]
    ) -> Iterable[tuple[float, float]]:
        """Bits of the latents and mean squared error for candidates that share their weight step."""
        settled = {name: choice.q_step for name, choice in choices.items()}
        arm, synthesis, upsampling = (settled.get(name) for name in ("arm", "synthesis", "upsampling"))
        if module == "arm":
            return ((rate, self._error(synthesis, upsampling)) for rate in self._arm_rates(block))
        if module == "synthesis":
            errors = self._synthesis_errors(block, upsampling)
        else:
            errors = [self._synthesis_errors([synthesis], pair)[0] for pair in block]
        return ((self._rate(arm), error) for error in errors)

    def _row(
        self, choices: Choices, module: str, pair: QStepPair, rate: float, mse: float, seconds: float
    ) -> RDRow:
        network = self._network_rate(module, pair)
        assert network is not None  # overflows never come here
        weight, bias = network
        settled_bit = sum(choice.rate_nn_bit for name, choice in choices.items() if name != module)
        rate_nn_bit = settled_bit + weight.rate_bit + bias.rate_bit
        height, width = self._param.img_size
        loss = mse + self._lmbda * (rate + rate_nn_bit) / (height * width)
        if not math.isfinite(loss):
            return RDRow(module, pair, "non_finite", seconds=seconds)
        counts = Counts(weight.expgol_cnt, bias.expgol_cnt)
        measured = Measured(counts, weight.rate_bit, bias.rate_bit, rate_nn_bit, rate, mse, loss)
        return RDRow(module, pair, "ok", measured, seconds=seconds)

    def _network_rate(self, module: str, pair: QStepPair) -> tuple[NetworkRate, NetworkRate] | None:
        rates = []
        for kind, step in pair._asdict().items():
            key = (module, kind, step)
            if key not in self._network_rates:
                self._network_rates[key] = network_rate(self._full_precision[module], kind, step)
            rates.append(self._network_rates[key])
        weight, bias = rates
        return None if weight is None or bias is None else (weight, bias)

    def _parameters(self, module: str, pair: QStepPair | None) -> Parameters:
        """A module's parameters, quantized or, without a pair, in full precision."""
        parameters: Parameters | None = self._full_precision[module]
        if pair is not None:
            parameters = quantize_parameters(self._full_precision[module], pair)
        if parameters is None:
            raise ValueError(f"{module}: the pair {pair} overflows, it cannot be settled")
        return {name: value.to(self._device) for name, value in parameters.items()}

    def _arm_rates(self, block: Sequence[QStepPair | None]) -> list[float]:
        candidates = [self._parameters("arm", pair) for pair in block]
        n_hidden = self._param.n_hidden_layers_arm
        rates: list[float] = rate_latent_bit(self._latents, candidates, n_hidden, self._tile).tolist()
        return rates

    def _rate(self, arm: QStepPair | None) -> float:
        """Bits of the latents with a settled arm."""
        if arm not in self._rates:
            self._rates = {arm: self._arm_rates([arm])[0]}
        return self._rates[arm]

    def _synthesis_errors(self, block: Sequence[QStepPair | None], upsampling: QStepPair | None) -> list[float]:
        dense = self._dense_latents(upsampling)
        candidates = [self._parameters("synthesis", pair) for pair in block]
        if self._target.n_samples <= SMALL_FRAME:
            with plain_arithmetic():
                return [self._plain_error(dense, candidate) for candidate in candidates]
        errors: list[float] = mean_squared_errors(
            dense, candidates, self._param.layers_synthesis, self._target, self._tile
        ).tolist()
        return errors

    def _plain_error(self, dense: Tensor, synthesis: Parameters) -> float:
        """Mean squared error of one candidate by the codec's own synthesis."""
        image = torch.func.functional_call(self._synthesis, dict(synthesis), dense[None])
        return self._target.mean_squared_error(self._target.squared_error(image, top=0)).item()

    def _error(self, synthesis: QStepPair | None, upsampling: QStepPair | None) -> float:
        """Mean squared error with a settled synthesis and upsampling."""
        key = (synthesis, upsampling)
        if key not in self._errors:
            self._errors = {key: self._synthesis_errors([synthesis], upsampling)[0]}
        return self._errors[key]

    def _dense_latents(self, upsampling: QStepPair | None) -> Tensor:
        """Input of the synthesis, ``[L, H, W]``; the last one asked for is kept."""
        if self._dense is None or self._dense[0] != upsampling:
            self._dense = None  # one at a time: it is the largest tensor here
            parameters = self._parameters("upsampling", upsampling)
            with plain_arithmetic():
                dense: Tensor = torch.func.functional_call(self._upsampling, dict(parameters), (self._latents,))
            self._dense = (upsampling, dense[0])
        return self._dense[1]


@contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 or other shortcuts, whatever the process was set to."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
