"""The arm, in the compiled kernel."""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.measure.kernel.library import long, pointer

_DIMS = (8, 12, 16, 20, 24, 28, 32, 40)
"""Widths that the kernel has; others are filled up with zeros."""


class _ArmBlock(ctypes.Structure):
    _fields_ = (
        *((name, long) for name in ("dim", "n_spatial", "n_hidden", "n_candidates")),
        *((name, pointer) for name in ("offsets", "weights", "stabiliser", "biases")),
        *((name, long) for name in ("n_features", "n_inputs")),
        *((name, pointer) for name in ("feature_weights", "feature_biases")),
        ("least_log_scale", ctypes.c_float),
    )


class _ArmGrid(ctypes.Structure):
    _fields_ = (("padded", pointer), ("inputs", pointer), ("n_coarse", long))


class _ArmLatents(ctypes.Structure):
    _fields_ = (("positions", pointer), ("coarse", pointer), ("n", long))


class ArmLayers(NamedTuple):
    """Candidates of an arm that share their weights.

    Attributes:
        weights: ``[out, in]`` of each layer, hidden ones first.
        biases: ``[n_candidates, out]`` of each layer.
        stabiliser_weight: ``[2, C]``, or ``None``.
        stabiliser_bias: ``[n_candidates, 2]``, or ``None``.
        feature_weight: ``[F, n_inputs]`` of the linear layer that gives the last ``F`` numbers of a context;
            ``None`` where these are zeros.
        feature_bias: ``[F]``, or ``None``.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    stabiliser_weight: Tensor | None = None
    stabiliser_bias: Tensor | None = None
    feature_weight: Tensor | None = None
    feature_bias: Tensor | None = None


class ArmBlock:
    """Candidates of an arm that share their weights, in the kernel's form.

    Args:
        library: the kernel.
        layers: the candidates; see :func:`supports_arm`.
        offsets: row and column of each neighbour, relative to the latent.
        least_log_scale: smaller ones are clamped.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        layers: ArmLayers,
        offsets: Sequence[tuple[int, int]],
        least_log_scale: float = -4.6,
    ) -> None:
        context = layers.weights[0].shape[1]
        dim = next(dim for dim in _DIMS if dim >= context)
        self._library = library
        self._offsets = offsets
        self._n_candidates = len(layers.biases[0])
        widths = [dim] * (len(layers.weights) - 1) + [2]
        # Kept here for as long as the kernel points to them.
        self._weights = torch.cat(
            [_filled(weight, out, dim).reshape(-1) for weight, out in zip(layers.weights, widths, strict=True)]
        )
        biases = [F.pad(bias, (0, out - bias.shape[1])) for bias, out in zip(layers.biases, widths, strict=True)]
        self._stabiliser = None
        if layers.stabiliser_weight is not None and layers.stabiliser_bias is not None:
            self._stabiliser = _filled(layers.stabiliser_weight, 2, dim)
            biases.append(layers.stabiliser_bias)
        self._biases = torch.cat(biases, dim=1).contiguous()
        self._feature_weight, self._feature_bias = layers.feature_weight, layers.feature_bias
        self._block = _ArmBlock(
            dim,
            len(offsets),
            len(layers.weights) - 1,
            self._n_candidates,
            None,
            self._weights.data_ptr(),
            _address(self._stabiliser),
            self._biases.data_ptr(),
            context - len(offsets),
            0 if layers.feature_weight is None else layers.feature_weight.shape[1],
            _address(self._feature_weight),
            _address(self._feature_bias),
            least_log_scale,
        )

    def outputs(
        self,
        padded: Tensor,
        positions: Tensor,
        out: Tensor,
        inputs: Tensor | None = None,
        coarse: Tensor | None = None,
    ) -> None:
        """Expectation ``μ`` and logarithm of the scale ``β`` of some latents of one grid.

        Args:
            padded: the grid with zeros around it, ``[rows, columns]``.
            positions: flat indices of the latents in it, ``[T]`` int64.
            out: ``[2, n_candidates, T]``, written.
            inputs: of the linear layer that gives the features, ``[n_inputs, h · w]``; ``None`` for a grid that has
                none.
            coarse: flat indices of what lies under the latents in it, ``[T]`` int32.
        """
        stride = padded.stride(0)
        offsets = (long * len(self._offsets))(*(dy * stride + dx for dy, dx in self._offsets))
        block = _ArmBlock.from_buffer_copy(self._block)
        block.offsets = ctypes.addressof(offsets)
        n_coarse = 0 if inputs is None else inputs.shape[1]
        grid = _ArmGrid(padded.data_ptr(), _address(inputs), n_coarse)
        latents = _ArmLatents(positions.data_ptr(), _address(coarse), len(positions))
        self._library.qsweep_arm(ctypes.byref(block), ctypes.byref(grid), ctypes.byref(latents), out.data_ptr())


def supports_arm(dim: int) -> bool:
    """Whether the kernel can evaluate an arm of this width."""
    return dim <= _DIMS[-1]


def _filled(weight: Tensor, rows: int, columns: int) -> Tensor:
    return F.pad(weight, (0, columns - weight.shape[1], 0, rows - weight.shape[0])).contiguous()


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


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
