"""The engine: rate–distortion rows of candidate pairs, recomputing only what a candidate can change.

Of the forward pass (§2 of the format) a candidate of

- ``arm`` changes the bits of the latents alone;
- ``synthesis`` changes the decoded frame alone, from a dense input that is the same for all of them;
- ``upsampling`` changes the decoded frame alone.

Network rates need no forward pass. Candidates that share their weight step are evaluated as a block: the first
matrix product is theirs together, in tiles that stay in the cache. Pairs that give the same parameters are one
candidate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from workers.codec import Frame, FrameEncoder, check_match
from workers.errors import ReplicaError
from workers.measure.arm_rate import ArmRate
from workers.measure.contest import Candidate, Contest
from workers.measure.cost import Cost, Parameters, Tile
from workers.measure.parallel import Threads
from workers.measure.row import Measured, RDRow
from workers.measure.synthesis_error import SynthesisError, Target
from workers.plain import Precision, in_precision, plain_arithmetic
from workers.quantize import (
    Choices,
    Counts,
    NetworkRate,
    QStepPair,
    kind_of,
    network_rate,
    quantize_parameters,
)

_CACHE_TILE = 4096
"""Latents, or pixels, in a tile on a CPU: with them a block's buffers stay in a core's cache."""

_LEAST_TILE = 256
_KEPT_SUMS = 8


@dataclass(frozen=True)
class EngineOptions:
    """How candidates are measured. A choice depends on none of it, but for ``tf32``.

    Attributes:
        precision: ``float32``; or ``tf32`` for what GPUs offer in place of it, with 10 bits of mantissa.
        workspace_bytes: for the buffers of all threads together, beside the frame and what is kept of it.
        compiled: whether to use the compiled kernel, if there is one.
        tile: latents, or pixels, that are evaluated together; ``None`` for as many as is good.
    """

    precision: Precision = "float32"
    workspace_bytes: int = 1 << 30
    compiled: bool = True
    tile: int | None = None


class Measurer:
    """Measures candidates for one frame.

    It keeps what it computed for the settled choices it was last asked about, and little else: a call gives the
    same rows whatever was asked before.

    Args:
        frame_encoder: with its networks in full precision; it is not modified.
        frame: the frame it was fitted for.
        lmbda: weight of the rate.
        device: where to compute.
        threads: tiles that are evaluated at a time, on a CPU.
        options: see there.

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
        threads: int = 1,
        options: EngineOptions = EngineOptions(),
    ) -> None:
        check_match(frame, frame_encoder)
        self._device = torch.device(device)
        self._param = frame_encoder.param
        self._full_precision = {
            module: frame_encoder.get_network_parameters(module) for module in ("arm", "synthesis", "upsampling")
        }
        self._upsampling = frame_encoder.upsampling
        self._lmbda = lmbda
        self._options = options
        self._threads = Threads(threads if self._device.type == "cpu" else 1)
        with torch.inference_mode():
            self._latents = [grid.to(self._device) for grid in frame_encoder.decoder_side_latents()]
            self._target = Target(frame, self._device)
        self._network_rates: dict[tuple[str, str, float], NetworkRate | None] = {}
        self._cut_into_tiles(options.tile or self._good_tile(threads))

    def _good_tile(self, threads: int) -> int:
        widest = max(self._param.dim_arm, *(layer.out_channels for layer in self._param.layers_synthesis))
        # Two layers of one candidate in torch; or, with the compiled kernel, a few numbers of each of many.
        bytes_per_pixel = 4 * (2 * widest + 8 * 32)
        affordable = self._options.workspace_bytes // (bytes_per_pixel * threads)
        return max(_LEAST_TILE, min(affordable, _CACHE_TILE) if self._device.type == "cpu" else affordable)

    def _cut_into_tiles(self, tile: int) -> None:
        """Begin anew with tiles of so many latents, or pixels."""
        self._tile = tile
        param = self._param
        self._arm_rate = ArmRate(
            self._latents, param.dim_arm, param.n_hidden_layers_arm, tile, compiled=self._options.compiled
        )
        self._error_of: tuple[QStepPair | None, SynthesisError] | None = None
        self._sums: dict[tuple[object, ...], list[float]] = {}

    def measure(
        self, choices: Choices, module: str, pairs: Sequence[QStepPair], best: float | None = None
    ) -> list[RDRow]:
        """Rows of some candidates of a module.

        Args:
            choices: modules that have been settled, and so are quantized; the others are in full precision.
            module: the module to quantize with each pair.
            pairs: the candidates.
            best: ``None`` to measure every pair in full; else the best loss of the module that is known already,
                infinity if none is: then pairs that cannot win, beside it or beside each other, are pruned.

        Returns:
            One row per pair, in the order given.

        Raises:
            ReplicaError: the device's memory does not suffice for the smallest tiles.
        """
        while True:
            try:
                with torch.inference_mode(), in_precision(self._options.precision):
                    return self._measure(choices, module, pairs, best)
            except torch.OutOfMemoryError as error:
                if self._tile <= _LEAST_TILE:
                    message = f"the memory of {self._device} does not suffice for tiles of {self._tile} pixels"
                    raise ReplicaError(f"{message}: {str(error).splitlines()[0]}") from None
            self._cut_into_tiles(self._tile // 2)
            torch.cuda.empty_cache()

    def _measure(
        self, choices: Choices, module: str, pairs: Sequence[QStepPair], best: float | None
    ) -> list[RDRow]:
        account = self._account(choices, module)
        groups = self._candidates(module, pairs, account.settled_bit)
        if module == "upsampling":
            self._run_upsampling(groups, choices, account, best)
        else:
            upsampling = _step(choices, "upsampling")
            cost: Cost[Any] = self._arm_rate if module == "arm" else self._synthesis_error(upsampling)
            contest = Contest[Any](cost, groups, account.loss, self._threads)
            if best is None:
                contest.complete()
            else:
                expected = self._rate_parts(None) if module == "arm" else self._error_parts(None, upsampling)
                contest.decide(best, expected)
        rows = {
            pair: self._row(module, pair, candidate, account)
            for group in groups
            for candidate in group
            for pair in candidate.pairs
        }
        return [rows[pair] if pair in rows else RDRow(module, pair, "overflow") for pair in pairs]

    def _run_upsampling(
        self, groups: Sequence[Sequence[Candidate]], choices: Choices, account: "_Account", best: float | None
    ) -> None:
        """Candidates of the upsampling, one after the other: each has a dense input of its own."""
        synthesis = _step(choices, "synthesis")
        expected = None if best is None else self._error_parts(synthesis, None)
        for candidate in chain.from_iterable(groups):
            candidate.parameters = self._parameters("synthesis", synthesis)
            cost = self._synthesis_error(candidate.pairs[0])
            contest = Contest(cost, [[candidate]], account.loss, self._threads)
            if best is None or expected is None:
                contest.complete()
            else:
                best = contest.decide(best, expected)

    def _account(self, choices: Choices, module: str) -> "_Account":
        settled_bit = sum(choice.rate_nn_bit for name, choice in choices.items() if name != module)
        rate = error = None
        if module == "arm":
            error = sum(self._error_parts(_step(choices, "synthesis"), _step(choices, "upsampling")))
        else:
            rate = sum(self._rate_parts(_step(choices, "arm")))
        height, width = self._param.img_size
        return _Account(self._target, self._lmbda / (height * width), settled_bit, rate, error)

    def _candidates(self, module: str, pairs: Sequence[QStepPair], settled_bit: int) -> list[list[Candidate]]:
        """Candidates that are no overflow, those that share their weights together."""
        groups: dict[float, dict[bytes, Candidate]] = {}
        for pair in dict.fromkeys(pairs):
            rates = self._network_rate(module, pair)
            if rates is None:
                continue
            parameters = self._parameters(module, pair)
            group = groups.setdefault(pair.weight, {})
            biases = (value for name, value in sorted(parameters.items()) if kind_of(name) == "bias")
            # Pairs that give the same parameters are one candidate; the upsampling's biases are never used.
            key = b"" if module == "upsampling" else b"".join(value.cpu().numpy().tobytes() for value in biases)
            candidate = group.setdefault(key, Candidate(parameters))
            candidate.add(pair, settled_bit + sum(rate.rate_bit for rate in rates))
        return [list(group.values()) for group in groups.values()]

    def _row(self, module: str, pair: QStepPair, candidate: Candidate, account: "_Account") -> RDRow:
        rates = self._network_rate(module, pair)
        assert rates is not None  # no candidate overflows
        weight, bias = rates
        rate_nn_bit = account.settled_bit + weight.rate_bit + bias.rate_bit
        loss = account.loss(candidate.total, rate_nn_bit)
        if not candidate.complete:
            return RDRow(module, pair, "pruned", loss_lower_bound=loss, seconds=candidate.seconds)
        if not math.isfinite(loss):
            return RDRow(module, pair, "non_finite", seconds=candidate.seconds)
        counts = Counts(weight.expgol_cnt, bias.expgol_cnt)
        rate, mse = account.numbers(candidate.total)
        measured = Measured(counts, weight.rate_bit, bias.rate_bit, rate_nn_bit, rate, mse, loss)
        return RDRow(module, pair, "ok", measured, seconds=candidate.seconds)

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

    # --- what is settled, and kept

    def _rate_parts(self, arm: QStepPair | None) -> list[float]:
        """Bits of each tile of latents with a settled arm."""
        key = ("arm", arm)
        if key not in self._sums:
            self._keep(key, self._parts(self._arm_rate, self._parameters("arm", arm)))
        return self._sums[key]

    def _error_parts(self, synthesis: QStepPair | None, upsampling: QStepPair | None) -> list[float]:
        """Squared error of each tile of the frame with a settled synthesis and upsampling."""
        key = ("synthesis", synthesis, upsampling)
        if key not in self._sums:
            cost = self._synthesis_error(upsampling)
            self._keep(key, self._parts(cost, self._parameters("synthesis", synthesis)))
        return self._sums[key]

    def _parts(self, cost: Cost[Tile], parameters: Parameters) -> list[float]:
        evaluate = cost.evaluator([parameters])
        parts = self._threads.map(evaluate, cost.tiles, parallel=cost.parallel)
        return [part.item() for part in parts]

    def _keep(self, key: tuple[object, ...], parts: list[float]) -> None:
        if len(self._sums) >= _KEPT_SUMS:
            self._sums.clear()
        self._sums[key] = parts

    def _synthesis_error(self, upsampling: QStepPair | None) -> SynthesisError:
        """Cost of the synthesis with a settled upsampling; the last one asked for is kept."""
        if self._error_of is None or self._error_of[0] != upsampling:
            self._error_of = None  # one at a time: its dense input is the largest tensor here
            parameters = dict(self._parameters("upsampling", upsampling))
            with plain_arithmetic():
                dense: Tensor = torch.func.functional_call(self._upsampling, parameters, (self._latents,))
            layers, options = self._param.layers_synthesis, self._options
            cost = SynthesisError(dense[0], layers, self._target, self._tile, compiled=options.compiled)
            self._error_of = (upsampling, cost)
        return self._error_of[1]


@dataclass(frozen=True)
class _Account:
    """What the loss of a candidate is made of beside its sum over the tiles, which is the module's own part.

    Attributes:
        target: the original frame.
        bit_price: loss of a bit.
        settled_bit: of the networks that are settled.
        rate: bits of the latents, unless the sum gives them.
        squared_error: of the frame, unless the sum gives it.
    """

    target: Target
    bit_price: float
    settled_bit: int
    rate: float | None
    squared_error: float | None

    def numbers(self, total: float) -> tuple[float, float]:
        """Bits of the latents and mean squared error, for a sum over the tiles."""
        rate = total if self.rate is None else self.rate
        error = total if self.squared_error is None else self.squared_error
        return rate, self.target.mean_squared_error(error)

    def loss(self, total: float, rate_nn_bit: float) -> float:
        """The loss, for a sum over the tiles; it never falls where the sum or the bits grow."""
        rate, mse = self.numbers(total)
        return mse + self.bit_price * (rate + rate_nn_bit)


def _step(choices: Choices, module: str) -> QStepPair | None:
    return choices[module].q_step if module in choices else None
