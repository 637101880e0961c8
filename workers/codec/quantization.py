"""Quantization of a network's parameters."""

from collections.abc import Mapping

import torch
from torch import Tensor

from workers.candidates import KINDS, Choice, Choices, QStepPair
from workers.codec.frame_encoder import FrameEncoder
from workers.codec.network import NetworkSpec

MAX_ABS_QUANTIZED = 65535
"""A quantized parameter beyond this cannot be sent: the pair of steps is an overflow."""


def quantize(value: Tensor, q_step: float) -> Tensor | None:
    """Integers ``round(value / q_step)``, ties to even, as float32 of the same shape.

    Returns:
        ``None`` if any of them exceeds 65535 in magnitude: an overflow.
    """
    quantized = torch.round(value / q_step)
    if quantized.numel() and quantized.abs().max() > MAX_ABS_QUANTIZED:
        return None
    return quantized


def quantize_tensors(parameters: Mapping[str, Tensor], q_step: float) -> dict[str, Tensor] | None:
    """Parameters rounded to multiples of a step, ``q · step``.

    Returns:
        The same names and shapes, or ``None`` if any parameter overflows.
    """
    result = {}
    for name, value in parameters.items():
        quantized = quantize(value, q_step)
        if quantized is None:
            return None
        result[name] = quantized * q_step
    return result


def quantize_network(
    spec: NetworkSpec, parameters: Mapping[str, Tensor], q_step: QStepPair
) -> dict[str, Tensor] | None:
    """Parameters of a network rounded to multiples of their kind's step.

    Returns:
        The same names and shapes, or ``None`` if any parameter overflows.
    """
    weights = quantize_tensors({name: parameters[name] for name in spec.weights}, q_step.weight)
    biases = quantize_tensors({name: parameters[name] for name in spec.biases}, q_step.bias)
    if weights is None or biases is None:
        return None
    both = weights | biases
    return {name: both[name] for name in parameters}


def quantized_as_chosen(spec: NetworkSpec, parameters: Mapping[str, Tensor], choice: Choice) -> dict[str, Tensor]:
    """Parameters of a network with the choice's steps: its integers, or the rounded ones where it has none.

    Raises:
        ValueError: they overflow, or there are not as many integers as parameters: it was made for others.
    """
    if not choice.integers:
        quantized = quantize_network(spec, parameters, choice.q_step)
        if quantized is None:
            raise ValueError(f"{spec.id}: the chosen pair {choice.q_step} overflows with these parameters")
        return quantized
    result = {}
    for kind in KINDS:
        for name in spec.names(kind):
            like, integers = parameters[name], choice.integers.get(name, ())
            if len(integers) != like.numel():
                raise ValueError(
                    f"{spec.id}: {name} has {like.numel()} parameters; the choice has {len(integers)} integers"
                )
            if any(abs(value) > MAX_ABS_QUANTIZED for value in integers):
                raise ValueError(f"{spec.id}: an integer of {name} exceeds {MAX_ABS_QUANTIZED} in magnitude")
            values = torch.tensor(integers, dtype=like.dtype, device=like.device)
            result[name] = values.view(like.shape) * getattr(choice.q_step, kind)
    return {name: result[name] for name in parameters}


def apply_choices(frame_encoder: FrameEncoder, choices: Choices) -> None:
    """Quantize, in place and for good, the networks for which a choice has been made.

    Raises:
        ValueError: a choice was made for other parameters; see :func:`quantized_as_chosen`.
    """
    for spec in frame_encoder.networks:
        if spec.id not in choices:
            continue
        choice = choices[spec.id]
        quantized = quantized_as_chosen(spec, frame_encoder.get_network_parameters(spec.id), choice)
        frame_encoder.set_network_parameters(spec.id, quantized)
        frame_encoder.nn_q_step[spec.prefix] = choice.q_step._asdict()
        frame_encoder.nn_expgol_cnt[spec.prefix] = choice.expgol_cnt._asdict()
