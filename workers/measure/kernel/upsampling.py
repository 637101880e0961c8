"""The upsampling, in the compiled kernel."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from workers.codec.upsampling import Upsampling


def upsample(library: ctypes.CDLL, upsampling: Upsampling, latents: Sequence[Tensor]) -> Tensor:
    """Dense input of the synthesis, ``[L, H, W]``; sums are added up in another order than torch does it.

    Args:
        library: the kernel.
        upsampling: the network.
        latents: decoder-side latents, ``[1, 1, H_i, W_i]`` each.

    Raises:
        MemoryError: there is not enough of it.
    """
    *larger, z = (grid[0] for grid in latents)  # [1, H_i, W_i]
    z = z.contiguous()
    steps = zip(upsampling.conv_transpose2ds, upsampling.conv2ds, reversed(larger), strict=True)
    for conv_transpose, conv, target in steps:
        target = target.contiguous()
        even, odd = (layer.weight.contiguous() for layer in (conv_transpose, conv))
        n_channels, *size = z.shape
        out = torch.empty(n_channels + 1, *target.shape[1:])
        failed = library.qsweep_filter(
            target.data_ptr(), *target.shape[1:], odd.data_ptr(), len(odd), out.data_ptr()
        )
        failed += library.qsweep_upsample(
            z.data_ptr(), n_channels, *size, even.data_ptr(), len(even), out[1:].data_ptr(), *target.shape[1:]
        )
        if failed:
            raise MemoryError(f"the upsampling to {tuple(target.shape[1:])} needs more memory than there is")
        z = out
    return z
