"""Synthesis in fixed-point arithmetic: bands of rows of the picture."""

from typing import NamedTuple

import torch
from torch import Tensor

from workers.bitstream.fixed_point import FixedLayer
from workers.bitstream.fixed_tensors import add_, replicate, rescale_
from workers.bitstream.networks import QuantizedNetworks
from workers.codec.coolchic_parameter import SYNTHESIS


class _Convolution(NamedTuple):
    """A convolution with replicate padding, and what follows it.

    Attributes:
        taps: ``[k, k, out, in]``.
        biases: ``[out]``.
        bits: see :class:`FixedLayer`.
        residual: whether its input is added.
        relu: whether it is rectified then.
    """

    taps: Tensor
    biases: Tensor
    bits: int
    residual: bool = False
    relu: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """``[in, h, w]`` to ``[out, h, w]``, activations."""
        k = len(self.taps)
        p, (_, rows, width) = k // 2, x.shape
        inputs = replicate(replicate(x, -1, p), -2, p) if p else x
        y = self.biases[:, None].repeat(1, rows * width)
        for dy in range(k):
            for dx in range(k):
                shifted = inputs[:, dy : dy + rows, dx : dx + width].reshape(len(x), -1)
                y.addmm_(self.taps[dy, dx], shifted)
        y = rescale_(y, self.bits).view(-1, rows, width)
        if self.residual:
            add_(y, x)
        return y.clamp_(min=0) if self.relu else y


class FixedSynthesis:
    """The picture in bands of rows, as :class:`workers.codec.synthesis.Synthesis` makes it.

    Args:
        networks: of a frame.
        device: where to compute.

    Attributes:
        max_channels: of any activation.
    """

    def __init__(self, networks: QuantizedNetworks, device: torch.device) -> None:
        coolchic = networks.coolchic

        def convolution(name: str, *, residual: bool = False, relu: bool = False) -> _Convolution:
            layer: FixedLayer = networks.layer(f"{SYNTHESIS}.{name}")
            taps = torch.from_numpy(layer.weight).permute(2, 3, 0, 1).contiguous().to(device)
            return _Convolution(taps, torch.from_numpy(layer.bias).to(device), layer.bits, residual, relu)

        layers = coolchic.layers_synthesis
        self._main = [
            convolution(f"{coolchic.family.synthesis_layers}.{2 * j}", residual=layer.residual, relu=layer.relu)
            for j, layer in enumerate(layers)
        ]
        self._n_latents = coolchic.n_latents
        self._stabiliser = convolution("stabiliser_branch") if coolchic.linear_stabiliser_synth else None
        self._transform = convolution("output_transform") if coolchic.output_transform else None
        self._halo = sum(layer.kernel_size // 2 for layer in layers)
        self.max_channels = max(coolchic.n_inputs_synthesis, *(layer.out_channels for layer in layers))

    def __call__(self, dense: Tensor, top: int, bottom: int) -> Tensor:
        """Rows from ``top`` to ``bottom`` of the picture ``[out, h, w]``, as activations, of ``[C, h, w]``."""
        # Rows that later layers take from above and below are computed with the band.
        above, below = min(top, self._halo), min(dense.shape[-2] - bottom, self._halo)
        x = dense[:, top - above : bottom + below]
        for layer in self._main:
            x = layer(x)
        x = x[:, above : x.shape[1] - below]
        if self._stabiliser is not None:
            x = add_(x, self._stabiliser(dense[: self._n_latents, top:bottom]))
        return x if self._transform is None else self._transform(x)
