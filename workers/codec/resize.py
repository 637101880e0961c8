"""The last step of a cool-chic: its output at the size of the frame."""

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec.coolchic_parameter import FinalUpsampling


def resize(x: Tensor, height: int, width: int, kind: FinalUpsampling) -> Tensor:
    """``[B, C, h, w]`` to ``[B, C, height, width]``; the same tensor if it has this size.

    ``nearest`` takes the sample ``min(⌊x · s⌋, w − 1)`` with ``s = w / width`` rounded to float32 before the
    product is, and rows likewise; ``bicubic`` and ``bilinear`` are those of torch without aligned corners.
    """
    if x.shape[-2:] == (height, width):
        return x
    if kind == "nearest":
        rows, columns = (
            _nearest(size, wanted, x.device) for size, wanted in zip(x.shape[-2:], (height, width), strict=True)
        )
        return x[..., rows[:, None], columns]
    return F.interpolate(x, size=(height, width), mode=kind, align_corners=False)


def _nearest(size: int, wanted: int, device: torch.device) -> Tensor:
    scale = torch.tensor(size / wanted, dtype=torch.float32, device=device)
    source = torch.arange(wanted, dtype=torch.float32, device=device) * scale
    return source.floor().long().clamp_max(size - 1)
