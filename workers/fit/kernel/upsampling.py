"""The upsampling and its gradients, in the compiled kernel."""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from workers.fit.kernel.library import long, pointer

_SLACK = 64
"""Numbers that the kernel may touch behind a row."""


class _Filter(ctypes.Structure):
    _fields_ = (*((name, long) for name in ("phases", "n_taps", "halo", "replicate")), ("taps", pointer))


class _Shape(ctypes.Structure):
    _fields_ = tuple((name, long) for name in ("n_planes", "height", "width", "out_height", "out_width"))


class Taps(NamedTuple):
    """How the taps of a filter follow from its half-kernel.

    Attributes:
        basis: derivative of each tap by each entry of the half-kernel, ``[n_half, phases, n_taps]``.
        replicate: what is outside a plane: its border, or zeros.
        add: whether the input is added to the output.
    """

    basis: Tensor
    replicate: bool
    add: bool


def upsampling_taps(k_size: int) -> Taps:
    """The ×2 upsampling by a symmetric even kernel.

    Output ``r`` is the sum over ``d`` of the inputs ``d`` times the kernel's entry ``r + P − 1 − 2d``, ``P = k/2``.
    """
    half = k_size // 2
    halo = half // 2
    basis = torch.zeros(half, 2, 2 * halo + 1)
    for phase in range(2):
        for d in range(-halo, halo + 1):
            entry = phase + half - 1 - 2 * d
            if 0 <= entry < k_size:
                basis[min(entry, k_size - 1 - entry), phase, d + halo] = 1
    return Taps(basis, replicate=True, add=False)


def filter_taps(k_size: int) -> Taps:
    """The symmetric odd filter, plus its own input."""
    halo = k_size // 2
    basis = torch.zeros(halo + 1, 1, k_size)
    for entry in range(k_size):
        basis[min(entry, k_size - 1 - entry), 0, entry] = 1
    return Taps(basis, replicate=False, add=True)


class CompiledUpsampling:
    """Dense latents of grids.

    Args:
        library: the kernel.
        up_halves: half-kernels of the ×2 upsampling, from the coarsest grid on; read at every call.
        filter_halves: likewise, of the filters before concatenation.
        k_size: of the former.
        preconcat_k_size: of the latter.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        up_halves: Sequence[Tensor],
        filter_halves: Sequence[Tensor],
        k_size: int,
        preconcat_k_size: int,
    ) -> None:
        self.library = library
        self.lanes: int = library.qsweep_train_lanes()
        self._up_halves, self._filter_halves = up_halves, filter_halves
        self._up, self._filter = upsampling_taps(k_size), filter_taps(preconcat_k_size)

    def __call__(self, grids: Sequence[Tensor]) -> Tensor:
        """Dense latents ``[L, H, W]`` of grids ``[1, H_i, W_i]``, float32."""
        *larger, z = grids
        for up, own, target in zip(self._up_halves, self._filter_halves, reversed(larger), strict=True):
            z = cast(Tensor, _Step.apply(z, target, up, own, self._up, self._filter, self))  # type: ignore[no-untyped-call]
        return z


class _Step(torch.autograd.Function):
    """The next larger grid, filtered, before what there is, upsampled: ``[C, h, w]`` to ``[C + 1, H, W]``."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, target: Tensor, up: Tensor, own: Tensor, up_taps: Taps, own_taps: Taps,
        of: CompiledUpsampling,
    ) -> Tensor:  # fmt: skip
        z, target = z.contiguous(), target.contiguous()
        out = z.new_empty(len(z) + 1, *target.shape[1:])
        filtered = _run(of, own, own_taps, target, out[:1])
        upsampled = _run(of, up, up_taps, z, out[1:])
        ctx.save_for_backward(z, target, up, own, filtered, upsampled)
        ctx.taps, ctx.of = (up_taps, own_taps), of
        return out

    @staticmethod
    def backward(ctx: Any, by_out: Tensor) -> tuple[Tensor | None, ...]:
        z, target, up, own, filtered, upsampled = ctx.saved_tensors
        up_taps, own_taps = ctx.taps
        by_out = by_out.contiguous()
        by_target, by_own = _run_back(ctx.of, own, own_taps, target, filtered, by_out[:1])
        by_z, by_up = _run_back(ctx.of, up, up_taps, z, upsampled, by_out[1:])
        return by_z, by_target, by_up, by_own, None, None, None


def _structures(half: Tensor, taps: Taps, x: Tensor, out: Tensor) -> tuple[Tensor, _Filter, _Shape, Tensor]:
    """The taps, what the kernel is to know of the filter and its planes, and a workspace."""
    n_half, phases, n_taps = taps.basis.shape
    values = half.detach() @ taps.basis.view(n_half, -1)
    n_planes, height, width = x.shape
    described = _Filter(phases, n_taps, n_taps // 2, taps.replicate, values.data_ptr())
    workspace = x.new_empty(4 * (width + n_taps + _SLACK) + 2 * _SLACK)
    return values, described, _Shape(n_planes, height, width, *out.shape[1:]), workspace


def _run(of: CompiledUpsampling, half: Tensor, taps: Taps, x: Tensor, out: Tensor) -> Tensor:
    """Filter ``[C, h, w]`` into ``[C, H, W]``; gives ``[C, h, W]``, filtered along the width alone."""
    values, described, shape, workspace = _structures(half, taps, x, out)
    between = x.new_empty(*x.shape[:2], out.shape[2])
    of.library.qsweep_train_filter(
        *(ctypes.byref(described), ctypes.byref(shape), taps.add),
        *(tensor.data_ptr() for tensor in (x, between, out, workspace)),
    )
    del values  # the kernel pointed to it
    return between


def _run_back(
    of: CompiledUpsampling, half: Tensor, taps: Taps, x: Tensor, between: Tensor, by_out: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients by input and half-kernel."""
    values, described, shape, workspace = _structures(half, taps, x, by_out)
    by_x, by_between = torch.empty_like(x), torch.empty_like(between)
    by_taps = torch.zeros(len(values), of.lanes)
    of.library.qsweep_train_filter_backward(
        *(ctypes.byref(described), ctypes.byref(shape), taps.add),
        *(tensor.data_ptr() for tensor in (x, between, by_out, by_between, by_x, by_taps, workspace)),
    )
    return by_x, taps.basis.view(len(half), -1) @ by_taps.sum(1)
