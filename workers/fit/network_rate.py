"""Bits of the networks in training: what their parameters will cost when they are quantized."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_SCALE = 1 / 16
"""Parameters below this cost little. The best count of an exp-Golomb code, as a power of two and times the step, is
about the size of most parameters, whatever the step."""


def estimated_bits(parameters: Sequence[Tensor]) -> Tensor:
    """A smooth estimate, but for a constant: ``Σ 2 log2(1 + |p| / s)``, 0-d."""
    if not parameters:
        return torch.zeros(())
    flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
    return 2 * torch.log2(1 + flat.abs() / _SCALE).sum()


@torch.no_grad()
def add_gradients(parameters: Sequence[Tensor], weight: float) -> None:
    """Add the derivatives of the estimate, times a weight, to the gradients of parameters that have one."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.add_(parameter.sign() / (parameter.abs() + _SCALE), alpha=weight * 2 / math.log(2))
