"""The upsampling in training: 1-D filters as products with a band matrix, block by block, which BLAS computes."""

import ctypes
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec.upsampling import Upsampling
from workers.fit.kernel.upsampling import CompiledUpsampling

_BLOCK = 16
"""Samples that one product with a band matrix filters: few enough for a narrow band, enough for BLAS."""


class TrainingUpsampling:
    """Dense latents of latent grids, with gradients.

    Args:
        upsampling: its parameters are read at every call.
        n_steps: from grid to grid; kernels beyond are not used.
        k_size: of the ×2 upsampling kernels.
        preconcat_k_size: of the filters before concatenation.
        like: device and type of the parameters.
        library: the compiled kernel, if it is to be used.
    """

    def __init__(
        self,
        upsampling: Upsampling,
        n_steps: int,
        k_size: int,
        preconcat_k_size: int,
        like: Tensor,
        library: ctypes.CDLL | None,
    ) -> None:
        self._up_halves = [_half(kernel) for kernel in upsampling.conv_transpose2ds[:n_steps]]
        self._filter_halves = [_half(kernel) for kernel in upsampling.conv2ds[:n_steps]]
        self._up_basis = _upsampling_basis(k_size).to(like)
        self._filter_basis = _filter_basis(preconcat_k_size).to(like)
        self._compiled: CompiledUpsampling | None = None
        if library is not None:
            self._compiled = CompiledUpsampling(
                library, self._up_halves, self._filter_halves, k_size, preconcat_k_size
            )

    def __call__(self, grids: Sequence[Tensor]) -> Tensor:
        """Dense latents ``[L, H, W]`` of grids ``[1, H_i, W_i]``."""
        if self._compiled is not None:
            return self._compiled(grids)
        *larger, z = grids
        if not larger:
            return z
        up_bands = _bands(self._up_halves, self._up_basis)
        filter_bands = _bands(self._filter_halves, self._filter_basis)
        for up_band, filter_band, target in zip(up_bands, filter_bands, reversed(larger), strict=True):
            height, width = target.shape[-2:]
            u = _along_width(z, up_band, "replicate")[..., :width]
            u = _along_height(u, up_band, "replicate")[..., :height, :]
            f = _along_width(target, filter_band, "constant")[..., :width]
            f = _along_height(f, filter_band, "constant")[..., :height, :]
            z = torch.cat([f + target, u])
        return z


def _half(kernel: torch.nn.Module) -> Tensor:
    """The half-kernel that is trained."""
    (half,) = (value for name, value in kernel.named_parameters() if name.endswith(".original"))
    return half


def _upsampling_basis(k_size: int) -> Tensor:
    """Derivative of the ×2 upsampling's band matrix by each entry of a half-kernel.

    Output ``r`` of a block is the sum over ``d`` of the inputs ``d`` times the kernel's entry ``r + P − 1 − 2d``,
    ``P = k/2``: a transposed convolution of stride 2, cropped.

    Returns:
        ``[k/2, block + 2 · halo, 2 · block]``, the halo ``k // 4`` inputs on either side.
    """
    half = k_size // 2
    halo = half // 2
    basis = torch.zeros(half, _BLOCK + 2 * halo, 2 * _BLOCK)
    for r in range(2 * _BLOCK):
        for d in range(-halo, _BLOCK + halo):
            entry = r + half - 1 - 2 * d
            if 0 <= entry < k_size:
                basis[min(entry, k_size - 1 - entry), d + halo, r] = 1
    return basis


def _filter_basis(k_size: int) -> Tensor:
    """Derivative of a symmetric odd filter's band matrix by each entry of its half-kernel.

    Returns:
        ``[(k+1)/2, block + 2 · halo, block]``, the halo ``k // 2`` inputs on either side.
    """
    halo = k_size // 2
    basis = torch.zeros(halo + 1, _BLOCK + 2 * halo, _BLOCK)
    for r in range(_BLOCK):
        for entry in range(k_size):
            basis[min(entry, k_size - 1 - entry), r + entry, r] = 1
    return basis


def _bands(halves: Sequence[Tensor], basis: Tensor) -> Sequence[Tensor]:
    """Band matrices ``[block + 2 · halo, outputs]`` of some half-kernels."""
    flat = torch.stack(list(halves)) @ basis.flatten(1)
    return flat.view(-1, *basis.shape[1:]).unbind()


def _along_width(x: Tensor, band: Tensor, padding: str) -> Tensor:
    """``[C, h, w]`` to ``[C, h, w']``, ``w`` filled up to whole blocks."""
    width, window = x.shape[-1], band.shape[0]
    halo = (window - _BLOCK) // 2
    x = F.pad(x, (halo, halo - width % -_BLOCK, 0, 0), mode=padding)
    windows = x.unfold(-1, window, _BLOCK)  # [C, h, n_blocks, window]
    return (windows @ band).flatten(-2)


def _along_height(x: Tensor, band: Tensor, padding: str) -> Tensor:
    """``[C, h, w]`` to ``[C, h', w]``, ``h`` filled up to whole blocks."""
    height, window = x.shape[-2], band.shape[0]
    halo = (window - _BLOCK) // 2
    x = F.pad(x, (0, 0, halo, halo - height % -_BLOCK), mode=padding)
    windows = x.unfold(-2, window, _BLOCK).transpose(-1, -2)  # [C, n_blocks, window, w]
    return (band.t() @ windows).flatten(-3, -2)
