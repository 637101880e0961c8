"""The plain sequential sweep: one full forward pass per candidate.

The yardstick for correctness and for speed: slow on purpose, and never optimised. Its arithmetic also decides
between candidates whose losses are too close for anything but one arithmetic on one replica.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from workers.answers import Cost
from workers.candidates import Candidate, Choice, Choices, Counts, Measured, Measurement, QStepPair
from workers.codec import Frame, FrameEncoder, FrameEncoderManager, FrameEncoderOutput, check_match
from workers.codec.network import NetworkSpec
from workers.codec.quantization import apply_choices, quantize_network
from workers.errors import InfeasibleModuleError
from workers.objective.loss import MSE, loss_function
from workers.objective.metric import Metric
from workers.objective.network_rate import network_rate
from workers.plain import plain_arithmetic


class ReferenceSweep(NamedTuple):
    """Outcome of the sequential sweep.

    Attributes:
        measurements: one per network and pair, in grid order.
        choices: per network, the winner.
    """

    measurements: list[Measurement]
    choices: dict[str, Choice]


def measure_plain(
    frame_encoder: FrameEncoder,
    frame: Frame,
    lmbda: float,
    choices: Choices,
    network: str,
    pairs: Sequence[QStepPair],
    forward: Callable[[], FrameEncoderOutput] | None = None,
    metric: Metric = MSE,
) -> Iterator[Measurement]:
    """Measure some candidates of a network, with one forward pass on the CPU each.

    Args:
        frame_encoder: in evaluation mode on the CPU, the networks of ``choices`` quantized, the others in full
            precision; ``network`` is changed while this runs and restored at its end.
        frame: the frame it was fitted for.
        lmbda: weight of the rate.
        choices: of the networks that are quantized.
        network: id of the network to quantize with each pair.
        pairs: the candidates.
        forward: gives what the frame encoder, as it then is, would give; by default its own whole forward pass.
        metric: gives the distortion.

    Yields:
        One measurement per pair, in the order given.
    """
    (spec,) = (spec for spec in frame_encoder.networks if spec.id == network)
    parameters = frame_encoder.get_network_parameters(network)
    chosen_bit = sum(choice.rate_bit for name, choice in choices.items() if name != network)
    try:
        for pair in pairs:
            start = time.perf_counter()
            measurement = _measure_pair(
                frame_encoder, frame, lmbda, chosen_bit, spec, parameters, pair, forward or frame_encoder, metric
            )
            yield measurement._replace(arithmetic="plain", seconds=time.perf_counter() - start)
    finally:
        frame_encoder.set_network_parameters(network, parameters)


def _measure_pair(
    frame_encoder: FrameEncoder,
    frame: Frame,
    lmbda: float,
    chosen_bit: int,
    spec: NetworkSpec,
    parameters: Mapping[str, torch.Tensor],
    pair: QStepPair,
    forward: Callable[[], FrameEncoderOutput],
    metric: Metric,
) -> Measurement:
    candidate, rule = Candidate(spec.id, pair), frame_encoder.family.exp_golomb
    quantized = quantize_network(spec, parameters, pair)
    weight = network_rate({name: parameters[name] for name in spec.weights}, pair.weight, rule)
    bias = network_rate({name: parameters[name] for name in spec.biases}, pair.bias, rule)
    if quantized is None or weight is None or bias is None:
        return Measurement(candidate, "overflow")
    frame_encoder.set_network_parameters(spec.id, quantized)
    rate_nn_bit = chosen_bit + weight.rate_bit + bias.rate_bit
    with plain_arithmetic(frame_encoder.family.plain_threads):
        decoded_image, rate = forward()
        output = loss_function(decoded_image, rate, frame.data, lmbda, rate_nn_bit, metric)
    loss, mse, rate_latent_bit, distortion = (value.item() for value in output)
    if not frame_encoder.family.can_win(loss):
        return Measurement(candidate, "non_finite")
    counts = Counts(weight.expgol_cnt, bias.expgol_cnt)
    rates = (weight.rate_bit, bias.rate_bit, rate_nn_bit, rate_latent_bit)
    measured = Measured(counts, *rates, mse, loss, distortion)
    return Measurement(candidate, "ok", measured)


def measure_choices(frame_encoder: FrameEncoder, frame: Frame, lmbda: float, choices: Choices) -> Cost:
    """What a frame costs with its networks as they were chosen, by one forward pass on the CPU.

    Args:
        frame_encoder: in evaluation mode on the CPU, the choices applied.
        frame: the frame it was fitted for.
        lmbda: weight of the rate.
        choices: of every network.
    """
    rate_nn_bit = sum(choice.rate_bit for choice in choices.values())
    with plain_arithmetic(frame_encoder.family.plain_threads):
        decoded_image, rate = frame_encoder()
        output = loss_function(decoded_image, rate, frame.data, lmbda, rate_nn_bit)
    loss, mse, rate_latent_bit, distortion = (value.item() for value in output)
    return Cost(loss, mse, rate_latent_bit, rate_nn_bit, distortion)


def reference_sweep(
    frame_encoder: FrameEncoder,
    frame: Frame,
    frame_encoder_manager: FrameEncoderManager,
    grid: Mapping[str, Sequence[QStepPair]],
    metric: Metric = MSE,
) -> ReferenceSweep:
    """Quantize a frame encoder's networks, in place, one network after the other and one pair after the other.

    Args:
        frame_encoder: in full precision; comes back quantized.
        frame: the frame it was fitted for.
        frame_encoder_manager: gives the rate constraint; its time grows by the sweep's.
        grid: per network its pairs, in grid order.
        metric: gives the distortion.

    Raises:
        MismatchError: the frame encoder was fitted for a frame of another size or format.
        InfeasibleModuleError: no pair of a network has a finite loss.
    """
    check_match(frame, frame_encoder)
    start = time.perf_counter()
    frame_encoder.eval()
    lmbda = frame_encoder_manager.lmbda
    measurements: list[Measurement] = []
    choices: dict[str, Choice] = {}
    for network in (spec.id for spec in frame_encoder.networks):
        pairs = grid[network]
        of_network = list(measure_plain(frame_encoder, frame, lmbda, choices, network, pairs, metric=metric))
        measurements += of_network
        best = min(of_network, key=lambda measurement: measurement.loss)  # the first one on a tie
        if not math.isfinite(best.loss):
            raise InfeasibleModuleError(f"{network}: none of its {len(pairs)} pairs has a finite loss")
        choices[network] = best.choice()
        apply_choices(frame_encoder, {network: choices[network]})
    frame_encoder_manager.total_training_time_sec += time.perf_counter() - start
    return ReferenceSweep(measurements, choices)
