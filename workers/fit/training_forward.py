"""The forward pass in training: what ``FrameEncoder.forward`` gives, in operations whose gradients are cheap.

An iteration is dominated by the gradients of many small convolutions and slices. Here

- the upsampling's 1-D filters are products with a band matrix, block by block, so that BLAS computes them;
- contexts are gathered by one operation for all neighbours, a neighbour's values side by side, and the arm is
  evaluated in that layout, its residual connections folded into the weights;
- 1×1 convolutions of the synthesis are matrix products.

Sums are taken in another order; nothing else differs.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.candidates import RESIDUE
from workers.codec import EncoderParameter, FrameEncoder, FrameEncoderOutput, FrameEncoderParameter, Planes
from workers.codec.arm import Arm, laplace_scale, rate_bit
from workers.codec.latent import PAD, context_offsets
from workers.codec.synthesis import Synthesis

_BLOCK = 16
"""Samples that one product with a band matrix filters: few enough for a narrow band, enough for BLAS."""


def supports(param: EncoderParameter) -> bool:
    """Whether frame encoders of an architecture can be trained.

    These are the ones that are fitted here: of Cool-Chic 3.4, with one feature in each latent grid and no noise.
    """
    return (
        isinstance(param, FrameEncoderParameter)
        and all(n == 1 for n in param.n_ft_per_res)
        and not param.n_ft_per_res_cr
    )


class TrainingForward:
    """Decodes the latents of one frame encoder and measures their rate, with gradients.

    Args:
        frame_encoder: its parameters are read at every call.
    """

    def __init__(self, frame_encoder: FrameEncoder) -> None:
        residue = frame_encoder.coolchics[RESIDUE]
        self._frame = frame_encoder.param
        self._param = param = residue.param
        self._arm = residue.arm
        self._synthesis = residue.synthesis
        self._offsets = context_offsets(residue.param.context_indices)
        like = residue.latent_grids[0]
        self._identity = torch.eye(param.dim_arm).to(like)
        halves = dict(residue.upsampling.named_parameters())
        steps = range(param.n_latents - 1)
        self._up_halves = [halves[f"conv_transpose2ds.{j}.parametrizations.weight.original"] for j in steps]
        self._filter_halves = [halves[f"conv2ds.{j}.parametrizations.weight.original"] for j in steps]
        self._up_basis = _upsampling_basis(param.ups_k_size).to(like)
        self._filter_basis = _filter_basis(param.ups_preconcat_k_size).to(like)

    def __call__(self, latent: Tensor) -> FrameEncoderOutput:
        """Decode.

        Args:
            latent: decoder-side latents ``[N]``, grid by grid, in raster order within a grid.

        Returns:
            The decoded frame, not rounded to its bit depth, and the bits of each latent.
        """
        grid_sizes = self._param.grid_sizes
        context = cast(Tensor, _Contexts.apply(latent, grid_sizes, self._offsets))  # type: ignore[no-untyped-call]
        mu, scale = _distribution(self._arm, context, self._identity)
        rate = rate_bit(latent, mu, scale)
        flat = torch.split(latent, [height * width for height, width in grid_sizes])
        grids = [grid.view(1, *size) for grid, size in zip(flat, grid_sizes, strict=True)]
        image = _synthesize(self._synthesis, self._upsample(grids))
        planes = Planes.from_444(image[None], self._frame.frame_data_type, self._frame.family.chroma)
        return FrameEncoderOutput(planes.clamp(), rate)

    def _upsample(self, grids: Sequence[Tensor]) -> Tensor:
        """Dense latents ``[L, H, W]`` of grids ``[1, H_i, W_i]``."""
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


class _Contexts(torch.autograd.Function):
    """Causal neighbours of every latent, ``[N]`` to ``[C, N]``; zeros outside a latent's grid."""

    @staticmethod
    def forward(
        ctx: Any, latent: Tensor, grid_sizes: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]
    ) -> Tensor:
        ctx.grid_sizes, ctx.offsets = grid_sizes, offsets
        context = latent.new_empty(len(offsets), len(latent))
        start = 0
        for height, width in grid_sizes:
            end = start + height * width
            padded = F.pad(latent[start:end].view(height, width), (PAD, PAD, PAD, 0))
            neighbours = context[:, start:end].view(-1, height, width)
            for neighbour, (dy, dx) in zip(neighbours, offsets, strict=True):
                neighbour.copy_(padded[PAD + dy : PAD + dy + height, PAD + dx : PAD + dx + width])
            start = end
        return context

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        result = grad.new_empty(grad.shape[1])
        start = 0
        for height, width in ctx.grid_sizes:
            end = start + height * width
            padded = grad.new_zeros(height + PAD, width + 2 * PAD)
            neighbours = grad[:, start:end].reshape(-1, height, width)
            for neighbour, (dy, dx) in zip(neighbours, ctx.offsets, strict=True):
                padded[PAD + dy : PAD + dy + height, PAD + dx : PAD + dx + width] += neighbour
            result[start:end].view(height, width).copy_(padded[PAD:, PAD : PAD + width])
            start = end
        return result, None, None


def _distribution(arm: Arm, context: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
    """Expectation and scale of each latent, ``[N]`` each, from its context ``[C, N]``."""
    *hidden, output = arm.linears
    for linear in hidden:
        context = torch.addmm(linear.bias[:, None], linear.weight + identity, context).relu_()
    raw = torch.addmm(output.bias[:, None], output.weight, context)  # [2, N]
    return raw[0], laplace_scale(raw[1])


def _synthesize(synthesis: Synthesis, x: Tensor) -> Tensor:
    """Dense latents ``[L, H, W]`` to the image ``[3, H, W]``."""
    size = x.shape[-2:]
    for layer, activation in synthesis.convolutions:
        if layer.weight.shape[-1] > 1:
            y = cast(Tensor, layer(x[None]))[0]
        else:
            y = torch.addmm(layer.bias[:, None], layer.weight.flatten(1), x.flatten(1)).view(-1, *size)
            y = y + x if layer.residual else y
        x = y.relu_() if isinstance(activation, nn.ReLU) else y
    return x
