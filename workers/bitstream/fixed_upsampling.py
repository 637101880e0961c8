"""Upsampling in fixed-point arithmetic: latent grids to one dense tensor."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workers.bitstream.exp_golomb import Integers
from workers.bitstream.fixed_point import fixed_weights, to_activations
from workers.bitstream.fixed_tensors import add_, replicate, rescale_
from workers.bitstream.networks import QuantizedNetworks
from workers.codec.coolchic_parameter import UPSAMPLING


def upsample(latents: Integers, networks: QuantizedNetworks, device: torch.device) -> Tensor:
    """One dense tensor, as :class:`workers.codec.upsampling.Upsampling` makes it.

    Args:
        latents: ``[N]``, grid by grid, channel by channel, in raster order.
        networks: of the same frame.
        device: where to compute.

    Returns:
        Activations ``[C, h, w]``, of the resolution of the synthesis.
    """
    coolchic = networks.coolchic
    flat = torch.from_numpy(to_activations(latents)).to(device)
    grids = zip(coolchic.grids, coolchic.grid_sizes, strict=True)
    shapes = [(grid.n_features, *size) for grid, size in grids]
    parts = torch.split(flat, [channels * height * width for channels, height, width in shapes])
    *larger, z = (parts[i].view(shapes[i]) for i in coolchic.upsampled_grids)
    for step, target in enumerate(reversed(larger)):
        up = _kernel(networks, f"conv_transpose2ds.{step}", coolchic.ups_k_size)
        odd = _kernel(networks, f"conv2ds.{step}", coolchic.ups_preconcat_k_size)
        n, height, width = target.shape
        smaller, z = z, target.new_empty(n + len(z), height, width)
        if n:
            z[:n] = add_(_filter(_filter(target, -1, *odd), -2, *odd), target)
        for channel in range(len(smaller)):  # one at a time: what is in between takes no room worth mentioning
            u = _double(_double(smaller[channel : channel + 1], -1, *up), -2, *up)
            z[n + channel] = u[0, :height, :width]
    return z


def _kernel(networks: QuantizedNetworks, name: str, k_size: int) -> tuple[list[float], int]:
    """A symmetric kernel's entries as multiples of a power of two, and its exponent."""
    half, exponent = networks.tensor(f"{UPSAMPLING}.{name}.parametrizations.weight.original")
    whole = np.concatenate([half, half[::-1][k_size % 2 :]])
    weights, bits = fixed_weights(whole[None], exponent)
    return weights[0].tolist(), bits


def _double(x: Tensor, axis: int, kernel: Sequence[float], bits: int) -> Tensor:
    """Twice the samples along an axis of ``[C, h, w]``: a cropped transposed convolution of stride 2."""
    n, p = x.shape[axis], len(kernel) // 2
    reach = p // 2 + 1
    x = replicate(x, axis, reach)
    size = list(x.shape)
    size[axis] = 2 * n
    result = x.new_empty(size)
    for phase in (0, 1):
        # Output 2m + phase takes from input m + shift the entry phase + P − 1 − 2 shift.
        total: Tensor | None = None
        for shift in range(-reach, reach + 1):
            entry = phase + p - 1 - 2 * shift
            if 0 <= entry < len(kernel):
                term = x.narrow(axis, reach + shift, n) * kernel[entry]
                total = term if total is None else total.add_(term)
        assert total is not None
        interleaved = result[..., phase::2] if axis == -1 else result[..., phase::2, :]
        interleaved.copy_(rescale_(total, bits))
    return result


def _filter(x: Tensor, axis: int, kernel: Sequence[float], bits: int) -> Tensor:
    """A symmetric odd filter along an axis of ``[C, h, w]``, zeros outside."""
    n, p = x.shape[axis], len(kernel) // 2
    padded = F.pad(x, (p, p, 0, 0) if axis == -1 else (0, 0, p, p))
    total = torch.zeros_like(x)
    for entry, weight in enumerate(kernel):
        if weight:
            total.add_(padded.narrow(axis, entry, n), alpha=weight)
    return rescale_(total, bits)
