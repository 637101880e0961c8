"""The arm, in the compiled kernel."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from workers.measure.kernel.library import long, pointer


class _ArmBlock(ctypes.Structure):
    _fields_ = (
        ("dim", long),
        ("n_hidden", long),
        ("n_candidates", long),
        ("offsets", pointer),
        ("weights", pointer),
        ("biases", pointer),
    )


class ArmBlock:
    """Candidates of an arm that share their weights, in the kernel's form.

    Args:
        library: the kernel.
        layers: weights ``[out, in]`` of each layer, hidden ones first.
        biases: ``[n_candidates, out]`` of each layer.
        offsets: row and column of each neighbour, relative to the latent.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        layers: Sequence[Tensor],
        biases: Sequence[Tensor],
        offsets: Sequence[tuple[int, int]],
    ) -> None:
        self._library = library
        self._weights = torch.cat([weight.reshape(-1) for weight in layers])
        self._biases = torch.cat(list(biases), dim=1).contiguous()
        self._offsets = offsets
        self._n_hidden = len(layers) - 1

    def outputs(self, padded: Tensor, positions: Tensor, out: Tensor) -> None:
        """Expectation ``μ`` and logarithm of the scale ``β`` of some latents of one grid.

        Args:
            padded: the grid with zeros around it, ``[rows, columns]``.
            positions: flat indices of the latents in it, ascending, ``[T]`` int64.
            out: ``[2, n_candidates, T]``, written.
        """
        stride = padded.stride(0)
        offsets = (long * len(self._offsets))(*(dy * stride + dx for dy, dx in self._offsets))
        block = _ArmBlock(
            len(self._offsets),
            self._n_hidden,
            len(self._biases),
            ctypes.addressof(offsets),
            self._weights.data_ptr(),
            self._biases.data_ptr(),
        )
        self._library.qsweep_arm(
            ctypes.byref(block), padded.data_ptr(), positions.data_ptr(), len(positions), out.data_ptr()
        )


def laplace_arguments(library: ctypes.CDLL, latents: Tensor, mu: Tensor, scale: Tensor, out: Tensor) -> None:
    """Arguments ``−|x − μ| / β`` of the cdf's ``expm1``, at ``y − ½`` and ``y + ½``.

    Args:
        library: the kernel.
        latents: ``y``, ``[T]``.
        mu: ``[n_candidates, T]``.
        scale: likewise.
        out: ``[2, n_candidates, T]``, written.
    """
    pointers = (tensor.data_ptr() for tensor in (latents, mu, scale, out))
    library.qsweep_laplace(*mu.shape, *pointers)


def probability_products(library: ctypes.CDLL, latents: Tensor, mu: Tensor, expm1: Tensor, out: Tensor) -> None:
    """Probabilities of the latents, four of them multiplied into each number.

    Args:
        library: the kernel.
        latents: ``y``, ``[T]``.
        mu: ``[n_candidates, T]``.
        expm1: of the arguments, ``[2, n_candidates, T]``.
        out: ``[n_candidates, ceil(T / 4)]``, written.
    """
    pointers = (tensor.data_ptr() for tensor in (latents, mu, expm1, out))
    library.qsweep_probability(*mu.shape, *pointers)
