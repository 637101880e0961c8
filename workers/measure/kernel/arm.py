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
        offsets: of each neighbour in a padded grid, row and column relative to the latent.
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

    def outputs(self, padded: Tensor, top: int, rows: int, width: int, pad: int, out: Tensor) -> None:
        """Expectation ``μ`` and logarithm of the scale ``β`` of the latents in some rows of one grid.

        Args:
            padded: the grid with ``pad`` zeros around it, and 16 floats behind it in the same storage.
            top: first of the rows.
            rows: their number.
            width: of the grid.
            pad: see above.
            out: ``[2, n_candidates, rows · width]``, written.
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
        first = padded.data_ptr() + padded.element_size() * ((top + pad) * stride + pad)
        self._library.qsweep_arm(ctypes.byref(block), first, stride, rows, width, out.data_ptr())

    def arguments(self, latents: Tensor, mu: Tensor, scale: Tensor, out: Tensor) -> None:
        """Arguments ``−|x − μ| / β`` of the cdf's ``expm1``, at ``y − ½`` and ``y + ½``.

        Args:
            latents: ``y``, ``[T]``.
            mu: ``[n_candidates, T]``.
            scale: likewise.
            out: ``[2, n_candidates, T]``, written.
        """
        self._library.qsweep_laplace(
            *mu.shape, latents.data_ptr(), mu.data_ptr(), scale.data_ptr(), out.data_ptr()
        )

    def products(self, latents: Tensor, mu: Tensor, expm1: Tensor, out: Tensor) -> None:
        """Probabilities of the latents, four of them multiplied into each number.

        Args:
            latents: ``[T]``.
            mu: ``[n_candidates, T]``.
            expm1: of the arguments, ``[2, n_candidates, T]``.
            out: ``[n_candidates, ceil(T / 4)]``, written.
        """
        self._library.qsweep_probability(
            *mu.shape, latents.data_ptr(), mu.data_ptr(), expm1.data_ptr(), out.data_ptr()
        )
