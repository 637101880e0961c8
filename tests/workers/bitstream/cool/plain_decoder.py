"""A plain decoder of pictures: its networks in torch, as the official decoder has them."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workers.bitstream.cool.coding import CoolPicture, read_cool
from workers.bitstream.cool.noise import common_randomness
from workers.bitstream.cool.order import coded_tensors
from workers.bitstream.cool.picture import to_samples
from workers.bitstream.decoded_picture import DecodedPicture


def plain_output(picture: CoolPicture) -> Tensor:
    """Output of the synthesis, ``[out, H, W]``, before it is rounded."""
    a = picture.architecture
    values = {
        name: torch.from_numpy(np.ldexp(picture.parameters[name], picture.codings[key].exponent)).float()
        for key, shapes in coded_tensors(a).items()
        for name in shapes
    }
    used = [latents for grid, latents in zip(a.grids, picture.latents, strict=True) if not grid.hyperlatent]
    *finer, z = (torch.from_numpy(latents.astype(np.float32))[None, None] for latents in used)
    sizes = [(grid.shape[2], grid.shape[3]) for grid in (*finer, z)]
    for j, target in enumerate(reversed(finer)):
        even = _kernel(values[f"upsampling.conv_transpose2ds.{j}.parametrizations.weight.original"], a.ups_k_size)
        odd = _kernel(values[f"upsampling.conv2ds.{j}.parametrizations.weight.original"], a.ups_preconcat_k_size)
        height, width = target.shape[-2:]
        pad, crop = a.ups_k_size // 2, 3 * (a.ups_k_size // 2) - 1
        padded = F.pad(z.transpose(0, 1), (pad, pad, pad, pad), mode="replicate")
        doubled = F.conv_transpose2d(padded, even, stride=2)[..., crop:-crop, crop:-crop].transpose(0, 1)
        z = torch.cat([F.conv2d(target, odd, padding="same") + target, doubled[..., :height, :width]], dim=1)
    latents = z
    if a.flag_common_randomness:
        z = torch.cat([z, torch.from_numpy(common_randomness(sizes))[None]], dim=1)
    for j, layer in enumerate(a.layers_synthesis):
        y = _convolve(z, values, f"main_branch.{2 * j}")
        y = y + z if layer.residual else y
        z = F.relu(y) if layer.relu else y
    if a.linear_stabiliser_synth:
        z = z + _convolve(latents, values, "stabiliser_branch")
    z = _convolve(z, values, "output_transform")
    if z.shape[2:] != a.img_size:
        z = F.interpolate(z, a.img_size, mode=a.final_upsampling_type, align_corners=False)
    return z[0]


def plain_decode(content: bytes) -> DecodedPicture:
    """The picture of a file; latents by whatever coder is in force."""
    picture = read_cool(content)
    with torch.inference_mode():
        output = plain_output(picture).numpy()
    return to_samples(output, picture.frame_data_type, picture.bitdepth)


def _kernel(half: Tensor, size: int) -> Tensor:
    kernel = torch.cat([half, half.flip(0)[size % 2 :]])
    return torch.outer(kernel, kernel)[None, None]


def _convolve(x: Tensor, values: dict[str, Tensor], name: str) -> Tensor:
    weight, bias = (values[f"synthesis.{name}.{kind}"] for kind in ("weight", "bias"))
    p = weight.shape[-1] // 2
    return F.conv2d(F.pad(x, (p, p, p, p), mode="replicate"), weight, bias)
