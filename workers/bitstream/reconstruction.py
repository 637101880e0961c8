"""Upsampling and synthesis in fixed-point arithmetic: the same samples wherever a frame is decoded.

Nothing but products of matrices, sums, and rounding: a library's convolutions may transform their input, and would
round then. Each number is a whole one that double precision holds exactly (see
:mod:`workers.bitstream.fixed_point`), so neither bands of rows, nor threads, nor the device change a result.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workers.bitstream.exp_golomb import Integers
from workers.bitstream.fixed_point import FRACTION_BITS, MAX_ACTIVATION, fixed_biases, fixed_weights
from workers.bitstream.integer_arm import to_activations
from workers.bitstream.networks import QuantizedNetworks
from workers.codec import SynthesisLayer
from workers.codec.coolchic_3_4 import SYNTHESIS, UPSAMPLING

_BAND_BYTES = 64 << 20
"""Of one activation of a band of rows that goes through the synthesis at a time."""

Samples = tuple[Tensor, ...]


def reconstruct(latents: Integers, networks: QuantizedNetworks, device: str | torch.device = "cpu") -> Samples:
    """Samples of a frame.

    Args:
        latents: ``[N]``, grid by grid, in raster order.
        networks: of the same frame.
        device: where to compute.

    Returns:
        Whole numbers from 0 to ``2^bitdepth − 1``, int32, on the CPU: ``[3, H, W]``; for yuv420 y ``[H, W]``, and
        u and v ``[ceil(H/2), ceil(W/2)]``.
    """
    param = networks.param
    with torch.inference_mode():
        dense = _Upsampling(networks, torch.device(device))(latents)  # [L, H, W]
        synthesis = _Synthesis(networks, dense.device)
        maximum = 2**param.bitdepth - 1
        image = torch.empty(3, *param.img_size, dtype=torch.int32)
        height, width = param.img_size
        rows = max(1, _BAND_BYTES // (8 * width * synthesis.max_channels))
        for top in range(0, height, rows):
            band = synthesis(dense, top, min(height, top + rows))  # [3, rows, W]
            band.mul_(maximum).mul_(2.0**-FRACTION_BITS).add_(0.5).floor_().clamp_(0, maximum)
            image[:, top : top + rows] = band.to(torch.int32).cpu()
    if param.frame_data_type != "yuv420":
        return (image,)
    y, u, v = image
    return y, u[::2, ::2].contiguous(), v[::2, ::2].contiguous()


def _rescale_(x: Tensor, bits: int) -> Tensor:
    """Products with weights of so many bits, as activations again, in place."""
    return x.mul_(2.0**-bits).add_(0.5).floor_().clamp_(-MAX_ACTIVATION, MAX_ACTIVATION)


class _Upsampling:
    """Latent grids to one dense tensor, as :class:`workers.codec.upsampling.Upsampling` makes it."""

    def __init__(self, networks: QuantizedNetworks, device: torch.device) -> None:
        self._param = networks.param
        self._device = device
        self._up, self._filter = (
            [_kernel(networks, f"{UPSAMPLING}.{name}.{j}", k_size) for j in range(self._param.n_grids - 1)]
            for name, k_size in (
                ("conv_transpose2ds", self._param.ups_k_size),
                ("conv2ds", self._param.ups_preconcat_k_size),
            )
        )

    def __call__(self, latents: Integers) -> Tensor:
        sizes = self._param.grid_sizes
        flat = torch.from_numpy(to_activations(latents)).to(self._device)
        parts = torch.split(flat, [height * width for height, width in sizes])
        *larger, z = (part.view(1, *size) for part, size in zip(parts, sizes, strict=True))
        for up, odd, target in zip(self._up, self._filter, reversed(larger), strict=True):
            height, width = target.shape[-2:]
            smaller, z = z, target.new_empty(len(z) + 1, height, width)
            f = _filter(_filter(target, -1, *odd), -2, *odd)
            z[:1] = f.add_(target).clamp_(-MAX_ACTIVATION, MAX_ACTIVATION)
            for channel in range(len(smaller)):  # one at a time: what is in between takes no room worth mentioning
                u = _double(_double(smaller[channel : channel + 1], -1, *up), -2, *up)
                z[channel + 1] = u[0, :height, :width]
        return z


def _kernel(networks: QuantizedNetworks, name: str, k_size: int) -> tuple[list[float], int]:
    """A symmetric kernel's entries as multiples of a power of two, and its exponent."""
    name += ".parametrizations.weight.original"
    half = networks.integers[name]
    whole = np.concatenate([half, half[::-1][k_size % 2 :]])
    weights, bits = fixed_weights(whole[None], networks.exponents[name])
    return weights[0].tolist(), bits


def _double(x: Tensor, axis: int, kernel: Sequence[float], bits: int) -> Tensor:
    """Twice the samples along an axis of ``[C, h, w]``: a cropped transposed convolution of stride 2."""
    n, p = x.shape[axis], len(kernel) // 2
    reach = p // 2 + 1
    x = _replicate(x, axis, reach)
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
        interleaved.copy_(_rescale_(total, bits))
    return result


def _filter(x: Tensor, axis: int, kernel: Sequence[float], bits: int) -> Tensor:
    """A symmetric odd filter along an axis of ``[C, h, w]``, zeros outside."""
    n, p = x.shape[axis], len(kernel) // 2
    padded = F.pad(x, (p, p, 0, 0) if axis == -1 else (0, 0, p, p))
    total = torch.zeros_like(x)
    for entry, weight in enumerate(kernel):
        if weight:
            total.add_(padded.narrow(axis, entry, n), alpha=weight)
    return _rescale_(total, bits)


def _replicate(x: Tensor, axis: int, n: int) -> Tensor:
    """``n`` more samples on both sides of an axis, like the outermost ones."""
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
    shape = [-1, -1, -1]
    shape[axis] = n
    return torch.cat([first.expand(shape), x, last.expand(shape)], dim=axis)


class _Synthesis:
    """Bands of rows of the frame, as :class:`workers.codec.synthesis.Synthesis` makes it."""

    def __init__(self, networks: QuantizedNetworks, device: torch.device) -> None:
        self._layers: list[tuple[SynthesisLayer, Tensor, Tensor, int]] = []
        layers = networks.param.layers_synthesis
        for j, layer in enumerate(layers):
            weight, bias = f"{SYNTHESIS}.layers.{2 * j}.weight", f"{SYNTHESIS}.layers.{2 * j}.bias"
            matrix, bits = fixed_weights(networks.integers[weight], networks.exponents[weight])
            biases = fixed_biases(networks.integers[bias], networks.exponents[bias], bits)
            taps = torch.from_numpy(matrix).permute(2, 3, 0, 1).contiguous().to(device)  # [k, k, out, in]
            self._layers.append((layer, taps, torch.from_numpy(biases).to(device), bits))
        self._halo = sum(layer.kernel_size // 2 for layer in layers)
        self.max_channels = max(networks.param.n_grids, *(layer.out_channels for layer in layers))

    def __call__(self, dense: Tensor, top: int, bottom: int) -> Tensor:
        """Rows from ``top`` to ``bottom`` of the image ``[3, H, W]``, as activations."""
        height, width = dense.shape[-2:]
        # Rows that later layers take from above and below are computed with the band.
        above, below = min(top, self._halo), min(height - bottom, self._halo)
        x = dense[:, top - above : bottom + below]
        for layer, taps, biases, bits in self._layers:
            p = layer.kernel_size // 2
            inputs = _replicate(_replicate(x, -1, p), -2, p) if p else x
            rows = x.shape[1]
            y = biases[:, None].repeat(1, rows * width)
            for dy in range(layer.kernel_size):
                for dx in range(layer.kernel_size):
                    shifted = inputs[:, dy : dy + rows, dx : dx + width].reshape(len(x), -1)
                    y.addmm_(taps[dy, dx], shifted)
            y = _rescale_(y, bits).view(-1, rows, width)
            if layer.residual:
                y.add_(x).clamp_(-MAX_ACTIVATION, MAX_ACTIVATION)
            x = y.clamp_(min=0) if layer.relu else y
        return x[:, above : x.shape[1] - below]
