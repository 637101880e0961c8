"""One cool-chic: latent grids and the networks that decode them."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from workers.codec.arm import Arm, rate_bit
from workers.codec.common_randomness import noise
from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.ifce import Ifce
from workers.codec.latent import contexts, flatten, quantize_latents
from workers.codec.resize import resize
from workers.codec.synthesis import Synthesis
from workers.codec.upsampling import Upsampling


class CoolChic(nn.Module):
    """Latent grids, ``arm``, ``ifce`` where the family has one, ``upsampling`` and ``synthesis``.

    Attributes:
        param: its sizes.
    """

    def __init__(self, param: CoolChicParameter) -> None:
        super().__init__()
        self.param = param
        self.latent_grids = nn.ParameterList(
            nn.Parameter(torch.zeros(1, grid.n_features, *size))
            for grid, size in zip(param.grids, param.grid_sizes, strict=True)
        )
        self.arm = Arm(
            param.dim_arm,
            param.n_hidden_layers_arm,
            stabiliser=param.linear_stabiliser_arm,
            least_log_scale=param.family.least_log_scale,
        )
        self.ifce = Ifce(param) if param.ifce_resolution is not None else None
        self.upsampling = Upsampling(param.n_ups_kernels, param.ups_k_size, param.ups_preconcat_k_size)
        self.synthesis = Synthesis(param)

    def decoder_side_latents(self) -> list[Tensor]:
        """Quantized latents and hyperlatents of the evaluation, ``[1, n_i, H_i, W_i]`` each."""
        return quantize_latents(list(self.latent_grids), self.param.encoder_gain)

    def rate(self, latents: Sequence[Tensor]) -> Tensor:
        """Bits of each decoder-side latent by the arm, ``[Σ n_i · H_i · W_i]``, grid after grid."""
        context = contexts(latents, self.param.context_indices)
        if self.ifce is not None:
            context = torch.cat([context, self.ifce(latents)], dim=1)
        mu, scale = self.arm(context)
        return rate_bit(flatten(latents), mu, scale)

    def forward(self, latents: Sequence[Tensor]) -> Tensor:
        """What upsampling and synthesis make of decoder-side latents, ``[1, out, H, W]``."""
        dense = self.dense(latents)
        return resize(self.synthesis(dense), *self.param.img_size, self.param.final_upsampling_type)

    def dense(self, latents: Sequence[Tensor]) -> Tensor:
        """Input of the synthesis, ``[1, C, h, w]``."""
        dense = cast(Tensor, self.upsampling(upsampled_latents(latents, self.param)))
        return with_noise(dense, self.param)


def upsampled_latents(latents: Sequence[Tensor], param: CoolChicParameter) -> list[Tensor]:
    """The grids that the upsampling takes, finest first."""
    return [latents[i] for i in param.upsampled_grids]


def with_noise(dense: Tensor, param: CoolChicParameter) -> Tensor:
    """The input of the synthesis ``[1, n_latents, H, W]``, with common randomness where a cool-chic has it."""
    if not param.noise_channels:
        return dense
    made = noise(param.img_size, param.noise_channels)
    return torch.cat([dense, made.to(dense.device)], dim=1)
