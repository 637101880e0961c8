"""Quantization of a network's parameters: steps, overflow, and their exp-Golomb rate."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from workers.codec import KINDS, FrameEncoder

MAX_ABS_QUANTIZED = 65535
"""A quantized parameter beyond this cannot be sent: the pair of steps is an overflow."""

EXPGOL_COUNTS = range(13)
"""Counts of the exp-Golomb code that are tried for each kind of parameters."""


class QStepPair(NamedTuple):
    """Quantization steps of one module: one for its weights, one for its biases."""

    weight: float
    bias: float


class Counts(NamedTuple):
    """Exp-Golomb counts of one module: one for its weights, one for its biases."""

    weight: int
    bias: int


class Settled(NamedTuple):
    """What has been chosen for a module: later modules are measured with it in force.

    Attributes:
        q_step: the winning pair.
        expgol_cnt: its counts.
        rate_nn_bit: bits of this module's parameters, quantized so.
    """

    q_step: QStepPair
    expgol_cnt: Counts
    rate_nn_bit: int


Choices = Mapping[str, Settled]
"""Modules that have been settled, by name."""


def kind_of(parameter_name: str) -> str:
    """``weight`` or ``bias``, from a parameter's name.

    Raises:
        ValueError: the name contains neither ``weight`` nor ``bias``.
    """
    for kind in KINDS:
        if f".{kind}" in parameter_name:
            return kind
    raise ValueError(f"a parameter's name contains .weight or .bias; found {parameter_name!r}")


def quantize(value: Tensor, q_step: float) -> Tensor | None:
    """Integers ``round(value / q_step)``, ties to even, as float32 of the same shape.

    Returns:
        ``None`` if any of them exceeds 65535 in magnitude: an overflow.
    """
    quantized = torch.round(value / q_step)
    if quantized.numel() and quantized.abs().max() > MAX_ABS_QUANTIZED:
        return None
    return quantized


def quantize_parameters(parameters: Mapping[str, Tensor], q_step: QStepPair) -> dict[str, Tensor] | None:
    """Parameters rounded to multiples of their kind's step, ``q · step``.

    Returns:
        The same names and shapes, or ``None`` if any parameter overflows.
    """
    weights = quantize_kind(parameters, "weight", q_step.weight)
    biases = quantize_kind(parameters, "bias", q_step.bias)
    if weights is None or biases is None:
        return None
    return {name: weights[name] if name in weights else biases[name] for name in parameters}


def quantize_kind(parameters: Mapping[str, Tensor], kind: str, q_step: float) -> dict[str, Tensor] | None:
    """Like :func:`quantize_parameters`, but the parameters of one kind alone."""
    result = {}
    for name, value in parameters.items():
        if kind_of(name) == kind:
            quantized = quantize(value, q_step)
            if quantized is None:
                return None
            result[name] = quantized * q_step
    return result


def exp_golomb_bit(quantized: Tensor, counts: Sequence[int]) -> list[int]:
    """Bits of integers in exp-Golomb codes of the given counts, exactly.

    ``2⌊log2(|q| / 2^k + 1)⌋ + k + 1 + [q ≠ 0]`` for each: prefix and suffix of |q|, then a sign.

    Args:
        quantized: integers of any shape, of magnitude at most 65535.
        counts: ``k`` each.

    Returns:
        Bits of all the integers together, with each count.
    """
    magnitude = quantized.abs().to(torch.float64).reshape(-1)
    k = torch.tensor(counts)[:, None]
    # |q|/2^k + 1 is exact in double precision, and so is the exponent that frexp gives: x = m · 2^e, m in [½, 1).
    exponent = torch.frexp(magnitude / 2**k + 1).exponent.to(torch.int64) - 1
    bits: list[int] = (2 * exponent + (magnitude != 0) + k + 1).sum(dim=1).tolist()
    return bits


def best_count(quantized: Tensor) -> tuple[int, int]:
    """Cheapest exp-Golomb count of some integers, the smallest one on a tie, and its bits."""
    bits = exp_golomb_bit(quantized, EXPGOL_COUNTS)
    cheapest = min(range(len(bits)), key=bits.__getitem__)
    return EXPGOL_COUNTS[cheapest], bits[cheapest]


class NetworkRate(NamedTuple):
    """What the parameters of one kind cost when quantized with one step.

    Attributes:
        expgol_cnt: cheapest count.
        rate_bit: their bits with it.
    """

    expgol_cnt: int
    rate_bit: int


def network_rate(parameters: Mapping[str, Tensor], kind: str, q_step: float) -> NetworkRate | None:
    """Rate of the parameters of one kind; it depends on nothing but their step.

    Returns:
        ``None`` on an overflow. Parameters that are not finite have no rate either, but are no overflow
        when NaN: they cost nothing here, and whoever measures with them finds a loss that is not finite.
    """
    quantized = [quantize(value, q_step) for name, value in parameters.items() if kind_of(name) == kind]
    flat = _concatenate(quantized)
    if flat is None:
        return None
    return NetworkRate(*best_count(torch.nan_to_num(flat)))


def _concatenate(tensors: Iterable[Tensor | None]) -> Tensor | None:
    flat = []
    for tensor in tensors:
        if tensor is None:
            return None
        flat.append(tensor.reshape(-1))
    return torch.cat(flat) if flat else torch.empty(0)


def apply_choices(frame_encoder: FrameEncoder, choices: Choices) -> None:
    """Quantize, in place and for good, the modules that have been settled.

    Raises:
        ValueError: a module overflows with its pair, so the choice was made for other parameters.
    """
    for module, settled in choices.items():
        quantized = quantize_parameters(frame_encoder.get_network_parameters(module), settled.q_step)
        if quantized is None:
            raise ValueError(f"{module}: the settled pair {settled.q_step} overflows with these parameters")
        frame_encoder.set_network_parameters(module, quantized)
        frame_encoder.nn_q_step[module] = settled.q_step._asdict()
        frame_encoder.nn_expgol_cnt[module] = settled.expgol_cnt._asdict()
