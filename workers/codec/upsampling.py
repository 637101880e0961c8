"""Upsampling: latent grids of all resolutions become one dense tensor of the frame's size."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize


class SymmetricKernel(nn.Module):
    """Parametrization of a symmetric 1-D kernel by its first half.

    ``a b c d`` becomes ``a b c d d c b a`` for an even kernel and ``a b c d c b a`` for an odd one.
    """

    def __init__(self, k_size: int) -> None:
        super().__init__()
        self.k_size = k_size

    def forward(self, half: Tensor) -> Tensor:
        """``[(k + 1) // 2]`` to ``[k]``."""
        return torch.cat([half, half.flip(0)[self.k_size % 2 :]])


class _SeparableFilter(nn.Module):
    """A 2-D filter that is the outer product of a symmetric 1-D kernel with itself."""

    weight: Tensor

    def __init__(self, k_size: int) -> None:
        super().__init__()
        self.k_size = k_size
        self.weight = nn.Parameter(self.initial_half(k_size))
        # Part of the format, sent with the frame, never used by the forward pass.
        self.bias = nn.Parameter(torch.zeros(1))
        parametrize.register_parametrization(self, "weight", SymmetricKernel(k_size), unsafe=True)

    @staticmethod
    def initial_half(k_size: int) -> Tensor:
        raise NotImplementedError


class UpsamplingConvTranspose2d(_SeparableFilter):
    """×2 upsampling by a symmetric even kernel."""

    @staticmethod
    def initial_half(k_size: int) -> Tensor:
        """Bicubic for k ≥ 8, bilinear below, zero-padded on the left."""
        core = [0.25, 0.75] if k_size < 8 else [0.0351562, 0.1054687, -0.2617187, -0.8789063]
        return torch.tensor([0.0] * (k_size // 2 - len(core)) + core)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1, h, w]`` to ``[B, 1, 2h, 2w]``, along the width, then along the height."""
        k = self.k_size
        pad = k // 2
        crop = 2 * pad - 1 + k // 2
        kernel = self.weight
        x = F.pad(x, (pad, pad, 0, 0), mode="replicate")
        x = F.conv_transpose2d(x, kernel.view(1, 1, 1, k), stride=(1, 2))[..., crop:-crop]  # [B, 1, h, 2w]
        x = F.pad(x, (0, 0, pad, pad), mode="replicate")
        return F.conv_transpose2d(x, kernel.view(1, 1, k, 1), stride=(2, 1))[..., crop:-crop, :]


class UpsamplingConv2d(_SeparableFilter):
    """Filter by a symmetric odd kernel, zero-padded, plus its own input."""

    @staticmethod
    def initial_half(k_size: int) -> Tensor:
        """The identity: ``0 … 0 1``."""
        return torch.tensor([0.0] * (k_size // 2) + [1.0])

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1, h, w]`` to the same, along the width, then along the height."""
        k = self.k_size
        pad = k // 2
        kernel = self.weight
        y = F.conv2d(x, kernel.view(1, 1, 1, k), padding=(0, pad))
        return F.conv2d(y, kernel.view(1, 1, k, 1), padding=(pad, 0)) + x


class Upsampling(nn.Module):
    """Dense representation of the latents: grid after grid is upsampled ×2 and joined by the next one.

    Args:
        n_kernels: of either kind; one is used for each grid but the coarsest, and those beyond never are.
        ups_k_size: even size of the ×2 upsampling kernels.
        ups_preconcat_k_size: odd size of the filters before concatenation.
    """

    def __init__(self, n_kernels: int, ups_k_size: int, ups_preconcat_k_size: int) -> None:
        super().__init__()
        self.conv_transpose2ds = nn.ModuleList(UpsamplingConvTranspose2d(ups_k_size) for _ in range(n_kernels))
        self.conv2ds = nn.ModuleList(UpsamplingConv2d(ups_preconcat_k_size) for _ in range(n_kernels))

    def forward(self, latents: Sequence[Tensor]) -> Tensor:
        """Upsample and concatenate.

        Args:
            latents: ``L`` tensors ``[1, n_i, H_i, W_i]``, the largest first; some may have no channels.

        Returns:
            ``[1, Σ n_i, H, W]``, channels in the order of the grids.
        """
        *larger, z = latents  # z: [1, n_{L-1}, H_{L-1}, W_{L-1}]
        for target, conv_transpose, conv in zip(
            reversed(larger), self.conv_transpose2ds, self.conv2ds, strict=False
        ):
            height, width = target.shape[-2:]
            u = _by_channel(conv_transpose, z, 2 * z.shape[-2], 2 * z.shape[-1])[..., :height, :width]
            z = torch.cat([_by_channel(conv, target, height, width), u], dim=1)
        return z


def _by_channel(kernel: nn.Module, x: Tensor, height: int, width: int) -> Tensor:
    """Channels become the batch: every channel is filtered by the same kernel. There may be none."""
    if not x.shape[1]:
        return x.new_empty(*x.shape[:2], height, width)
    return cast(Tensor, kernel(x.transpose(0, 1))).transpose(0, 1)
