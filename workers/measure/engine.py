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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from workers.codec import Frame, FrameEncoder, check_match
from workers.errors import ReplicaError
from workers.measure.contest import Candidate, Contest
from workers.measure.cost import Cost
from workers.measure.error_bound import ErrorBound
from workers.measure.options import LEAST_TILE, EngineOptions
from workers.measure.row import Measured, RDRow
from workers.measure.stages import Stages
from workers.measure.target import Target
from workers.plain import in_precision
from workers.quantize import Choices, Counts, QStepPair, kind_of
from workers.reasons import reason_of


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
        options: EngineOptions | None = None,
    ) -> None:
        check_match(frame, frame_encoder)
        height, width = frame_encoder.param.img_size
        self._device = torch.device(device)
        self._bit_price = lmbda / (height * width)
        self._options = options or EngineOptions()
        self._stages = Stages(
            frame_encoder, frame, self._device, threads if self._device.type == "cpu" else 1, self._options
        )
        self._bound = ErrorBound.of_frame(
            height, width, frame.frame_data_type, frame.bitdepth, lmbda, self._options.precision
        )

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
        stages = self._stages
        while True:
            try:
                with torch.inference_mode(), in_precision(self._options.precision):
                    return self._measure(choices, module, pairs, best)
            except torch.OutOfMemoryError as error:
                if stages.tile <= LEAST_TILE:
                    message = f"the memory of {self._device} does not suffice for tiles of {stages.tile} pixels"
                    raise ReplicaError(f"{message}: {reason_of(error)}") from None
            stages.cut_into_tiles(max(LEAST_TILE, stages.tile // 2))
            torch.cuda.empty_cache()

    def rate_of_grids(self, choices: Choices) -> tuple[float, ...]:
        """Bits of the latents of each grid, the finest one first, with the arm as it is settled."""
        stages = self._stages
        with torch.inference_mode(), in_precision(self._options.precision):
            parts = stages.rate_parts(_step(choices, "arm"))
        rates = [0.0] * stages.n_grids
        for tile, part in zip(stages.arm_rate.tiles, parts, strict=True):
            rates[tile.grid] += part
        return tuple(rates)

    def _measure(
        self, choices: Choices, module: str, pairs: Sequence[QStepPair], best: float | None
    ) -> list[RDRow]:
        account = self._account(choices, module)
        groups = self._candidates(module, pairs, account.settled_bit)
        if module == "upsampling":
            self._run_upsampling(list(chain.from_iterable(groups)), choices, account, best)
        else:
            self._run(module, groups, choices, account, best)
        rows = {
            pair: self._row(module, pair, candidate, account)
            for group in groups
            for candidate in group
            for pair in candidate.pairs
        }
        return [rows[pair] if pair in rows else RDRow(module, pair, "overflow") for pair in pairs]

    def _account(self, choices: Choices, module: str) -> "_Account":
        stages = self._stages
        settled_bit = sum(choice.rate_nn_bit for name, choice in choices.items() if name != module)
        rate = error = None
        if module == "arm":
            error = sum(stages.error_parts(_step(choices, "synthesis"), _step(choices, "upsampling")))
        else:
            rate = sum(stages.rate_parts(_step(choices, "arm")))
        return _Account(stages.target, self._bit_price, settled_bit, rate, error)

    def _candidates(self, module: str, pairs: Iterable[QStepPair], settled_bit: int) -> list[list[Candidate]]:
        """Candidates that are no overflow, those that share their weights together."""
        groups: dict[float, dict[bytes, Candidate]] = {}
        for pair in dict.fromkeys(pairs):
            rates = self._stages.network_rate(module, pair)
            if rates is None:
                continue
            parameters = self._stages.parameters(module, pair)
            biases = (value for name, value in sorted(parameters.items()) if kind_of(name) == "bias")
            # The upsampling's biases are never used.
            key = b"" if module == "upsampling" else b"".join(bias.cpu().numpy().tobytes() for bias in biases)
            candidate = groups.setdefault(pair.weight, {}).setdefault(key, Candidate(parameters))
            candidate.add(pair, settled_bit + sum(rate.rate_bit for rate in rates))
        return [list(group.values()) for group in groups.values()]

    def _run(
        self,
        module: str,
        groups: Sequence[Sequence[Candidate]],
        choices: Choices,
        account: "_Account",
        best: float | None,
    ) -> None:
        """Candidates of the arm or the synthesis, all together."""
        stages, upsampling = self._stages, _step(choices, "upsampling")
        cost: Cost[Any] = stages.arm_rate if module == "arm" else stages.synthesis_error(upsampling)
        if best is None:
            Contest(cost, groups, account.loss, self._bound.limit, stages.threads).complete()
            return
        if module == "arm":
            cost, expected = stages.ordered_arm_rate()
        else:
            expected = stages.error_parts(None, upsampling)
        Contest(cost, groups, account.loss, self._bound.limit, stages.threads).decide(best, expected)

    def _run_upsampling(
        self, candidates: Sequence[Candidate], choices: Choices, account: "_Account", best: float | None
    ) -> None:
        """Candidates of the upsampling, one after the other: each has a dense input of its own."""
        stages, synthesis = self._stages, _step(choices, "synthesis")
        expected = None if best is None else stages.error_parts(synthesis, None)
        for candidate in candidates:
            candidate.parameters = stages.parameters("synthesis", synthesis)
            cost = stages.synthesis_error(candidate.pairs[0])
            contest = Contest(cost, [[candidate]], account.loss, self._bound.limit, stages.threads)
            if best is None or expected is None:
                contest.complete()
            else:
                best = contest.decide(best, expected)

    def _row(self, module: str, pair: QStepPair, candidate: Candidate, account: "_Account") -> RDRow:
        rates = self._stages.network_rate(module, pair)
        assert rates is not None  # no candidate overflows
        weight, bias = rates
        rate_nn_bit = account.settled_bit + weight.rate_bit + bias.rate_bit
        loss = account.loss(candidate.total, rate_nn_bit)
        if not candidate.complete:
            return RDRow(module, pair, "pruned", seconds=candidate.seconds, loss_lower_bound=loss)
        if not math.isfinite(loss):
            return RDRow(module, pair, "non_finite", seconds=candidate.seconds)
        counts = Counts(weight.expgol_cnt, bias.expgol_cnt)
        rate, mse = account.numbers(candidate.total)
        measured = Measured(counts, weight.rate_bit, bias.rate_bit, rate_nn_bit, rate, mse, loss)
        return RDRow(module, pair, "ok", measured, seconds=candidate.seconds)


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
