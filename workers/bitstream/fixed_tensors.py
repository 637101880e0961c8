"""Fixed-point arithmetic on tensors: what upsampling, synthesis and resize have in common."""

import torch
from torch import Tensor

from workers.bitstream.fixed_point import MAX_ACTIVATION


def rescale_(x: Tensor, bits: int) -> Tensor:
    """Products with weights of so many bits, as activations again, in place."""
    return x.mul_(2.0**-bits).add_(0.5).floor_().clamp_(-MAX_ACTIVATION, MAX_ACTIVATION)


def add_(x: Tensor, y: Tensor) -> Tensor:
    """Sum of activations, in place."""
    return x.add_(y).clamp_(-MAX_ACTIVATION, MAX_ACTIVATION)


def replicate(x: Tensor, axis: int, n: int) -> Tensor:
    """``n`` more samples on both sides of an axis of ``[C, h, w]``, like the outermost ones."""
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
    shape = [-1, -1, -1]
    shape[axis] = n
    return torch.cat([first.expand(shape), x, last.expand(shape)], dim=axis)
