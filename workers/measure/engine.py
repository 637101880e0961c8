"""The engine: measures candidates, and recomputes only what a candidate can change.

What that is follows from the networks' specs (:mod:`workers.measure.plan`): some networks change the bits of the
latents alone, others the decoded frame alone; candidates of the last network before a sum share their input.

Network rates need no forward pass. Candidates that share their weight step are evaluated as a block: the first
matrix product is theirs together, in tiles that stay in the cache. Pairs that give the same parameters are one
candidate.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import chain

import torch

from workers.candidates import Candidate, Choices, Counts, Measured, Measurement, QStepPair
from workers.codec import Frame, FrameEncoder, check_match
from workers.codec.network import Effect
from workers.errors import ReplicaError
from workers.measure.account import Account
from workers.measure.contest import Contender, Contest
from workers.measure.cost import Sums, add
from workers.measure.error_bound import ErrorBound
from workers.measure.network_parameters import InForce
from workers.measure.options import LEAST_TILE, EngineOptions
from workers.measure.plan import Output
from workers.measure.stages import ZEROS, Stages
from workers.objective.loss import MSE
from workers.objective.metric import Metric, greatest_weight
from workers.plain import in_precision
from workers.reasons import reason_of


class Measurer:
    """Measures candidates for one frame.

    It keeps what it computed for the choices it was last asked about, and little else: a call gives the same
    measurements whatever was asked before.

    Args:
        frame_encoder: with its networks in full precision; it is not modified.
        frame: the frame it was fitted for.
        lmbda: weight of the rate.
        device: where to compute.
        threads: tiles that are evaluated at a time, on a CPU.
        options: see there.
        metric: gives the distortion; one with ``plane_weights``.

    Raises:
        MismatchError: the frame encoder was fitted for a frame of another size or format.
        InputError: the weights of the metric cannot be used.
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
        metric: Metric = MSE,
    ) -> None:
        if metric.plane_weights is None:
            raise ValueError("the engine measures metrics with plane_weights")
        check_match(frame, frame_encoder)
        height, width = frame_encoder.param.img_size
        self._family = frame_encoder.family
        self._device = torch.device(device)
        self._bit_price = lmbda / (height * width)
        self._options = options or EngineOptions()
        self._stages = Stages(
            frame_encoder,
            frame,
            self._device,
            threads if self._device.type == "cpu" else 1,
            self._options,
            metric.plane_weights,
        )
        self._bound = ErrorBound.of_frame(
            height,
            width,
            frame.frame_data_type,
            frame.bitdepth,
            lmbda,
            self._options.precision,
            frame_encoder.param.n_together,
            greatest_weight(metric, frame.data.samples),
        )

    def measure(
        self, choices: Choices, network: str, pairs: Sequence[QStepPair], best: float | None = None
    ) -> list[Measurement]:
        """Measure some candidates of a network.

        Args:
            choices: of the networks that are quantized; the others are in full precision.
            network: id of the network to quantize with each pair.
            pairs: the candidates.
            best: ``None`` to measure every pair in full; else the best loss of the network that is known already,
                infinity if none is: then pairs that cannot win, beside it or beside each other, are pruned.

        Returns:
            One measurement per pair, in the order given.

        Raises:
            ReplicaError: the device's memory does not suffice for the smallest tiles.
        """
        stages = self._stages
        while True:
            try:
                with torch.inference_mode(), in_precision(self._options.precision):
                    return self._measure(choices, network, pairs, best)
            except torch.OutOfMemoryError as error:
                if stages.tile <= LEAST_TILE:
                    message = f"the memory of {self._device} does not suffice for tiles of {stages.tile} pixels"
                    raise ReplicaError(f"{message}: {reason_of(error)}") from None
            stages.cut_into_tiles(max(LEAST_TILE, stages.tile // 2))
            torch.cuda.empty_cache()

    def rate_of_grids(self, choices: Choices) -> tuple[float, ...]:
        """Bits of the latents of each grid, the finest one first, with the networks as they were chosen."""
        with torch.inference_mode(), in_precision(self._options.precision):
            return self._stages.rate_of_grids(_pairs(choices))

    def _measure(
        self, choices: Choices, network: str, pairs: Sequence[QStepPair], best: float | None
    ) -> list[Measurement]:
        output = self._stages.plan.output_of(network)
        in_force = _pairs(choices)
        account = self._account(choices, network)
        groups = self._contenders(network, pairs, account.chosen_bit, ZEROS[output.effect])
        if output.together(network):
            self._run(output, network, groups, in_force, account, best)
        else:
            self._run_upstream(output, network, list(chain.from_iterable(groups)), in_force, account, best)
        measured = {
            pair: self._measurement(Candidate(network, pair), contender, account)
            for group in groups
            for contender in group
            for pair in contender.pairs
        }
        return [
            measured[pair] if pair in measured else Measurement(Candidate(network, pair), "overflow")
            for pair in pairs
        ]

    def _account(self, choices: Choices, network: str) -> Account:
        stages = self._stages
        chosen_bit = sum(choice.rate_bit for name, choice in choices.items() if name != network)
        rate = errors = None
        for output in stages.plan.unchanged_by(network):
            total = reduce(add, stages.parts(output, _pairs(choices)), ZEROS[output.effect])
            if output.effect is Effect.RATE:
                rate = total[0] + (rate or 0.0)
            else:
                errors = total
        return Account(stages.target, self._bit_price, chosen_bit, rate, errors)

    def _contenders(
        self, network: str, pairs: Iterable[QStepPair], chosen_bit: int, zeros: Sums
    ) -> list[list[Contender]]:
        """Candidates that do not overflow, those that share their weights together."""
        groups: dict[float, dict[bytes, Contender]] = {}
        for pair in dict.fromkeys(pairs):
            rates = self._stages.parameters.rate(network, pair)
            if rates is None:
                continue
            parameters = self._stages.parameters.of(network, pair)
            key = self._stages.parameters.biases(network, parameters)
            contender = groups.setdefault(pair.weight, {}).setdefault(key, Contender(parameters, zeros))
            contender.add(pair, chosen_bit + sum(rate.rate_bit for rate in rates))
        return [list(group.values()) for group in groups.values()]

    def _run(
        self,
        output: Output,
        network: str,
        groups: Sequence[Sequence[Contender]],
        in_force: InForce,
        account: Account,
        best: float | None,
    ) -> None:
        """Candidates that share their weights together."""
        stages = self._stages
        if best is None:
            cost = stages.cost(output, network, in_force)
            Contest(cost, groups, account.loss, self._bound.limit, stages.threads).complete()
            return
        cost, expected = stages.contest(output, network, in_force)
        Contest(cost, groups, account.loss, self._bound.limit, stages.threads).decide(best, expected)

    def _run_upstream(
        self,
        output: Output,
        network: str,
        contenders: Sequence[Contender],
        in_force: InForce,
        account: Account,
        best: float | None,
    ) -> None:
        """Candidates of a network before the last one, one after the other: each gives an input of its own."""
        stages, last = self._stages, output.network.id
        others = {name: pair for name, pair in in_force.items() if name != network}
        expected = None if best is None else stages.weighted_parts(output, others)
        for contender in contenders:
            contender.parameters = stages.parameters.of(last, in_force.get(last))
            cost = stages.cost(output, last, {**others, network: contender.pairs[0]})
            contest = Contest(cost, [[contender]], account.loss, self._bound.limit, stages.threads)
            if best is None or expected is None:
                contest.complete()
            else:
                best = contest.decide(best, expected)

    def _measurement(self, candidate: Candidate, contender: Contender, account: Account) -> Measurement:
        rates = self._stages.parameters.rate(*candidate)
        assert rates is not None  # no contender overflows
        weight, bias = rates
        rate_nn_bit = account.chosen_bit + weight.rate_bit + bias.rate_bit
        loss = account.loss(contender.total, rate_nn_bit)
        if not contender.complete:
            return Measurement(candidate, "pruned", seconds=contender.seconds, loss_lower_bound=loss)
        if not self._family.can_win(loss):
            return Measurement(candidate, "non_finite", seconds=contender.seconds)
        counts = Counts(weight.expgol_cnt, bias.expgol_cnt)
        rate, errors = account.numbers(contender.total)
        mse, distortion = account.target.mean_squared_error(errors), account.target.distortion(errors)
        measured = Measured(counts, weight.rate_bit, bias.rate_bit, rate_nn_bit, rate, mse, loss, distortion)
        return Measurement(candidate, "ok", measured, seconds=contender.seconds)


def _pairs(choices: Choices) -> dict[str, QStepPair]:
    return {name: choice.q_step for name, choice in choices.items()}


class _Engine:
    def supports(self, frame_encoder: FrameEncoder, device: torch.device, metric: Metric) -> bool:  # noqa: ARG002
        # A frame encoder of another class computes something else.
        return type(frame_encoder) is FrameEncoder and metric.plane_weights is not None

    def open(
        self,
        frame_encoder: FrameEncoder,
        frame: Frame,
        lmbda: float,
        *,
        device: torch.device,
        threads: int,
        options: EngineOptions | None,
        metric: Metric,
    ) -> Measurer:
        return Measurer(frame_encoder, frame, lmbda, device=device, threads=threads, options=options, metric=metric)


ENGINE = _Engine()
"""Supports the frame encoders whose forward pass the stages are those of, and metrics with ``plane_weights``."""
