"""Synthesis: a few convolutions from the dense latents to the frame."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.synthesis_layer import SynthesisLayer


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
    """The convolutions, each followed by its non-linearity, if any; and what some families add to them.

    ``output_transform(layers(x) + stabiliser_branch(x))``, where the stabiliser takes the latents' channels alone.

    Args:
        param: of the cool-chic; the list of the convolutions has the name that its family gives it.
    """

    def __init__(self, param: CoolChicParameter) -> None:
        super().__init__()
        self._n_latents = param.n_latents
        self._layers_name = param.family.synthesis_layers
        # The order of the modules is that in which their parameters are listed.
        transform = SynthesisLayer(param.n_outputs, 1, residual=False, relu=False)
        self.output_transform = SynthesisConv2d(param.n_outputs, transform) if param.output_transform else None
        self.stabiliser_branch = (
            SynthesisConv2d(param.n_latents, transform) if param.linear_stabiliser_synth else None
        )
        modules: list[nn.Module] = []
        channels = param.n_inputs_synthesis
        for layer in param.layers_synthesis:
            modules += [SynthesisConv2d(channels, layer), nn.ReLU() if layer.relu else nn.Identity()]
            channels = layer.out_channels
        self.add_module(self._layers_name, nn.Sequential(*modules))
        if self.output_transform is not None:
            with torch.no_grad():
                self.output_transform.weight.copy_(torch.eye(param.n_outputs)[:, :, None, None])

    @property
    def convolutions(self) -> list[tuple[SynthesisConv2d, nn.Module]]:
        """Each convolution with its non-linearity."""
        modules = list(cast(nn.Sequential, self.get_submodule(self._layers_name)))
        return list(zip(cast(list[SynthesisConv2d], modules[::2]), modules[1::2], strict=True))

    def forward(self, dense: Tensor) -> Tensor:
        """``[B, C, H, W]``, latents first, to ``[B, out, H, W]``, before rounding to the bit depth."""
        image = cast(Tensor, self.get_submodule(self._layers_name)(dense))
        if self.stabiliser_branch is not None:
            image = image + self.stabiliser_branch(dense[:, : self._n_latents])
        return image if self.output_transform is None else cast(Tensor, self.output_transform(image))
