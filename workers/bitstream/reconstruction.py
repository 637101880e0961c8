"""Upsampling and synthesis in fixed-point arithmetic: the same samples wherever a frame is decoded.

Nothing but products of matrices, sums, and rounding: a library's convolutions may transform their input, and would
round then. Each number is a whole one that double precision holds exactly (see
:mod:`workers.bitstream.fixed_point`), so neither bands of rows, nor threads, nor the device change a result.
"""

import torch
from torch import Tensor

from workers.bitstream.exp_golomb import Integers
from workers.bitstream.fixed_noise import fixed_noise
from workers.bitstream.fixed_point import FRACTION_BITS
from workers.bitstream.fixed_resize import fixed_resize
from workers.bitstream.fixed_synthesis import FixedSynthesis
from workers.bitstream.fixed_upsampling import upsample
from workers.bitstream.networks import QuantizedNetworks
from workers.codec.family import Chroma

_BAND_BYTES = 64 << 20
"""Of one activation of a band of rows that is computed at a time."""

Samples = tuple[Tensor, ...]


def reconstruct(latents: Integers, networks: QuantizedNetworks, device: str | torch.device = "cpu") -> Samples:
    """Samples of a frame.

    Args:
        latents: ``[N]``, grid by grid, channel by channel, in raster order.
        networks: of the same frame.
        device: where to compute.

    Returns:
        Whole numbers from 0 to ``2^bitdepth − 1``, int32, on the CPU: ``[3, H, W]``; for yuv420 y ``[H, W]``, and
        u and v of the size that the family's :class:`~workers.codec.family.Chroma` gives.
    """
    param, coolchic = networks.param, networks.coolchic
    with torch.inference_mode():
        dense = upsample(latents, networks, torch.device(device))
        if coolchic.noise_channels:
            dense = torch.cat([dense, fixed_noise(param.img_size, coolchic.noise_channels).to(dense.device)])
        image = _picture(dense, networks)
        if image.shape[-2:] != param.img_size:
            resized = fixed_resize(image.to(device, torch.float64), *param.img_size, coolchic.final_upsampling_type)
            image = resized.to(torch.int32).cpu()
        if param.frame_data_type != "yuv420":
            return (_samples(image, param.bitdepth),)
        y, u, v = image
        if param.family.chroma is Chroma.EVEN:
            chroma = [_samples(plane[::2, ::2], param.bitdepth) for plane in (u, v)]
        else:
            chroma = [_samples(_sums(plane), param.bitdepth, FRACTION_BITS + 2) for plane in (u, v)]
        return (_samples(y, param.bitdepth), *chroma)


def _picture(dense: Tensor, networks: QuantizedNetworks) -> Tensor:
    """What the synthesis makes of ``[C, h, w]``: activations ``[out, h, w]``, int32, on the CPU."""
    synthesis = FixedSynthesis(networks, dense.device)
    _, height, width = dense.shape
    image = torch.empty(networks.coolchic.n_outputs, height, width, dtype=torch.int32)
    rows = max(1, _BAND_BYTES // (8 * width * synthesis.max_channels))
    for top in range(0, height, rows):
        image[:, top : top + rows] = synthesis(dense, top, min(height, top + rows)).to(torch.int32).cpu()
    return image


def _sums(plane: Tensor) -> Tensor:
    """Sums of two by two activations, the last row and column of odd sizes left out."""
    height, width = (side // 2 * 2 for side in plane.shape)
    even = plane[:height, :width].long()
    return even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2]


def _samples(image: Tensor, bitdepth: int, fraction_bits: int = FRACTION_BITS) -> Tensor:
    """Samples, int32, of whole numbers ``[…, h, w]`` that stand for multiples of a power of two."""
    maximum = 2**bitdepth - 1
    samples = torch.empty(image.shape, dtype=torch.int32)
    rows = max(1, _BAND_BYTES // (8 * max(1, image[..., :1, :].numel())))
    for top in range(0, image.shape[-2], rows):
        band = image[..., top : top + rows, :].double().mul_(maximum)
        samples[..., top : top + rows, :] = band.mul_(2.0**-fraction_bits).add_(0.5).floor_().clamp_(0, maximum)
    return samples
