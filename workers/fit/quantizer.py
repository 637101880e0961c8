"""What replaces rounding in training: quantizers whose derivative is of use."""

import math

import torch
from torch import Tensor


def soft_round(x: Tensor, temperature: float) -> Tensor:
    """Soft rounding, elementwise (Agustsson & Theis 2020).

    ``r(x) = ⌊x⌋ + ½ tanh((x − ⌊x⌋ − ½) / T) / tanh(1 / 2T) + ½``: the identity for ``T → ∞``, rounding for
    ``T → 0``; integers and half-integers are its fixed points at every temperature.

    Args:
        x: any shape.
        temperature: ``T``, above 0.
    """
    floor = x.floor().detach()  # its derivative is 0: not worth a backward pass
    return floor + (torch.tanh((x - floor - 0.5) / temperature) * (0.5 / math.tanh(0.5 / temperature)) + 0.5)


def soft_round_twice(x: Tensor, temperature: float, noise: Tensor) -> Tensor:
    """Soft rounding with noise between, ``r(r(x) + n)``: the loss sees what rounding will do to the latents.

    Args:
        x: latents after gain, any shape.
        temperature: of both soft roundings.
        noise: of the same shape.
    """
    return soft_round(soft_round(x, temperature) + noise, temperature)


def straight_through(x: Tensor, temperature: float) -> Tensor:
    """Hard rounding, ties to even, with the derivative of soft rounding.

    Args:
        x: latents after gain, any shape.
        temperature: of the soft rounding whose derivative it is.
    """
    soft = soft_round(x, temperature)
    return torch.round(x) + (soft - soft.detach())  # exactly 0, but for its derivative


def kumaraswamy_noise(shape: torch.Size, parameter: float, generator: torch.Generator) -> Tensor:
    """Noise in [−½, ½] of a Kumaraswamy distribution that is symmetric at its mode, 0 (Cool-Chic 5.0.1).

    Args:
        shape: of the result.
        parameter: 1 for a uniform distribution; the larger, the more it gathers at 0.
        generator: source of the random numbers.
    """
    exponent = (2**parameter * (parameter - 1) + 1) / parameter
    uniform = torch.rand(shape, generator=generator)
    return (1 - (1 - uniform) ** (1 / exponent)) ** (1 / parameter) - 0.5
