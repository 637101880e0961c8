"""The upsampling, in the compiled kernel."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from workers.codec.upsampling import SymmetricKernel

_WORTHWHILE = 1 << 16
"""Numbers of a level that are worth to be computed side by side."""


def upsample(
    library: ctypes.CDLL,
    parameters: Mapping[str, Tensor],
    sizes: tuple[int, int],
    latents: Sequence[Tensor],
    run: Callable[[Sequence[Callable[[], int]]], Sequence[int]],
) -> Tensor:
    """Dense input of the synthesis, ``[Σ n_i, H, W]``; sums are added up in another order than torch does it.

    Args:
        library: the kernel.
        parameters: of the upsampling, by name within it.
        sizes: of its kernels: even of the ×2 upsampling, odd before the concatenation.
        latents: decoder-side latents that are upsampled, ``[1, n_i, H_i, W_i]`` each.
        run: calls functions, side by side perhaps, and gives their results.

    Raises:
        MemoryError: there is not enough of it.
    """
    *larger, z = (grid[0].contiguous() for grid in latents)  # [n_i, H_i, W_i]
    for j, target in enumerate(reversed(larger)):
        even, odd = (
            SymmetricKernel(size)(parameters[f"{name}.{j}.parametrizations.weight.original"])
            for name, size in zip(("conv_transpose2ds", "conv2ds"), sizes, strict=True)
        )
        shape = target.shape[1:]
        out = torch.empty(len(target) + len(z), *shape)
        calls = [
            partial(library.qsweep_filter, channel.data_ptr(), *shape, odd.data_ptr(), len(odd), result.data_ptr())
            for channel, result in zip(target, out, strict=False)
        ]
        calls += [
            partial(
                library.qsweep_upsample,
                *(channel.data_ptr(), *channel.shape, even.data_ptr(), len(even), result.data_ptr(), *shape),
            )
            for channel, result in zip(z, out[len(target) :], strict=True)
        ]
        if any(run(calls) if out.numel() > _WORTHWHILE else [call() for call in calls]):
            raise MemoryError(f"the upsampling to {tuple(shape)} needs more memory than there is")
        z = out
    return z
