"""The plain sequential sweep: one full forward pass per candidate.

The yardstick for correctness and for speed: slow on purpose, and never optimised. Its arithmetic also decides
between candidates whose losses are too close for anything but one arithmetic on one replica.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from workers.codec import (
    Frame,
    FrameEncoder,
    FrameEncoderManager,
    FrameEncoderOutput,
    check_match,
    loss_function,
)
from workers.errors import InfeasibleModuleError
from workers.measure.row import Measured, RDRow
from workers.plain import plain_arithmetic
from workers.quantize import (
    Choices,
    Counts,
    QStepPair,
    Settled,
    apply_choices,
    network_rate,
    quantize_parameters,
)


class ReferenceSweep(NamedTuple):
    """Outcome of the sequential sweep.

    Attributes:
        rows: one per module and pair, in grid order.
        choices: per module, the winner.
    """

    rows: list[RDRow]
    choices: dict[str, Settled]


def measure_plain(
    frame_encoder: FrameEncoder,
    frame: Frame,
    lmbda: float,
    choices: Choices,
    module: str,
    pairs: Sequence[QStepPair],
    forward: Callable[[], FrameEncoderOutput] | None = None,
) -> Iterator[RDRow]:
    """Rows of some candidates of a module, one forward pass on the CPU each.

    Args:
        frame_encoder: in evaluation mode on the CPU, the modules of ``choices`` quantized, the others in full
            precision; ``module`` is changed while this runs and restored at its end.
        frame: the frame it was fitted for.
        lmbda: weight of the rate.
        choices: modules that have been settled.
        module: the module to quantize with each pair.
        pairs: the candidates.
        forward: gives what the frame encoder, as it then is, would give; by default its own whole forward pass.

    Yields:
        One row per pair, in the order given.
    """
    parameters = frame_encoder.get_network_parameters(module)
    settled_bit = sum(choice.rate_nn_bit for name, choice in choices.items() if name != module)
    try:
        for pair in pairs:
            start = time.perf_counter()
            row = _measure_pair(
                frame_encoder, frame, lmbda, settled_bit, module, parameters, pair, forward or frame_encoder
            )
            yield row._replace(arithmetic="plain", seconds=time.perf_counter() - start)
    finally:
        frame_encoder.set_network_parameters(module, parameters)


def _measure_pair(
    frame_encoder: FrameEncoder,
    frame: Frame,
    lmbda: float,
    settled_bit: int,
    module: str,
    parameters: Mapping[str, torch.Tensor],
    pair: QStepPair,
    forward: Callable[[], FrameEncoderOutput],
) -> RDRow:
    quantized = quantize_parameters(parameters, pair)
    weight = network_rate(parameters, "weight", pair.weight)
    bias = network_rate(parameters, "bias", pair.bias)
    if quantized is None or weight is None or bias is None:
        return RDRow(module, pair, "overflow")
    frame_encoder.set_network_parameters(module, quantized)
    rate_nn_bit = settled_bit + weight.rate_bit + bias.rate_bit
    with plain_arithmetic():
        decoded_image, rate = forward()
        output = loss_function(decoded_image, rate, frame.data, lmbda, rate_nn_bit)
    loss, mse, rate_latent_bit = (value.item() for value in output)
    if not math.isfinite(loss):
        return RDRow(module, pair, "non_finite")
    counts = Counts(weight.expgol_cnt, bias.expgol_cnt)
    measured = Measured(counts, weight.rate_bit, bias.rate_bit, rate_nn_bit, rate_latent_bit, mse, loss)
    return RDRow(module, pair, "ok", measured)


def reference_sweep(
    frame_encoder: FrameEncoder,
    frame: Frame,
    frame_encoder_manager: FrameEncoderManager,
    grid: Mapping[str, Sequence[QStepPair]],
) -> ReferenceSweep:
    """Quantize a frame encoder's networks, in place, one module after the other and one pair after the other.

    Args:
        frame_encoder: in full precision; comes back quantized.
        frame: the frame it was fitted for.
        frame_encoder_manager: gives the rate constraint; its time grows by the sweep's.
        grid: per module its pairs, in grid order.

    Raises:
        MismatchError: the frame encoder was fitted for a frame of another size or format.
        InfeasibleModuleError: no pair of a module has a finite loss.
    """
    check_match(frame, frame_encoder)
    start = time.perf_counter()
    frame_encoder.eval()
    rows: list[RDRow] = []
    choices: dict[str, Settled] = {}
    for module in sorted(grid):
        pairs = grid[module]
        of_module = list(measure_plain(frame_encoder, frame, frame_encoder_manager.lmbda, choices, module, pairs))
        rows += of_module
        best = min(of_module, key=lambda row: row.loss)  # the first one on a tie
        if not math.isfinite(best.loss):
            raise InfeasibleModuleError(f"{module}: none of its {len(pairs)} pairs has a finite loss")
        choices[module] = best.settle()
        apply_choices(frame_encoder, {module: choices[module]})
    frame_encoder_manager.total_training_time_sec += time.perf_counter() - start
    return ReferenceSweep(rows, choices)
