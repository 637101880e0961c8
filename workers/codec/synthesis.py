"""Synthesis: a few convolutions from the dense latents to the frame."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.codec.parameter import SynthesisLayer


class SynthesisConv2d(nn.Module):
    """Convolution with replicate padding, ``[B, in, H, W] → [B, out, H, W]``, plus its input if residual."""

    def __init__(self, in_channels: int, layer: SynthesisLayer) -> None:
        super().__init__()
        k = layer.kernel_size
        self.residual = layer.residual
        self.weight = nn.Parameter(torch.empty(layer.out_channels, in_channels, k, k))
        self.bias = nn.Parameter(torch.empty(layer.out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Biases 0; weights 0 if residual, else U(−a, a) with ``a = 1 / (out² · √(in · k²))``."""
        out_channels, in_channels, k, _ = self.weight.shape
        bound = 1 / (out_channels**2 * (in_channels * k * k) ** 0.5)
        with torch.no_grad():
            self.bias.zero_()
            if self.residual:
                self.weight.zero_()
            else:
                self.weight.uniform_(-bound, bound)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return convolve(x, self.weight, self.bias, residual=self.residual)


def convolve(x: Tensor, weight: Tensor, bias: Tensor, *, residual: bool) -> Tensor:
    """Convolution with replicate padding, plus its own input if it is residual.

    Args:
        x: ``[B, in, H, W]``.
        weight: ``[out, in, k, k]``.
        bias: ``[out]``.
        residual: whether the input is added; it then has ``out`` channels.

    Returns:
        ``[B, out, H, W]``.
    """
    p = weight.shape[-1] // 2
    y = F.conv2d(F.pad(x, (p, p, p, p), mode="replicate"), weight, bias)
    return y + x if residual else y


class Synthesis(nn.Module):
    """The convolutions, each followed by its non-linearity, if any."""

    def __init__(self, in_channels: int, layers: Sequence[SynthesisLayer]) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for layer in layers:
            modules += [SynthesisConv2d(in_channels, layer), nn.ReLU() if layer.relu else nn.Identity()]
            in_channels = layer.out_channels
        self.layers = nn.Sequential(*modules)

    def forward(self, dense: Tensor) -> Tensor:
        """``[B, L, H, W]`` to ``[B, 3, H, W]``, before rounding to the bit depth."""
        return cast(Tensor, self.layers(dense))
