"""The synthesis, in the compiled kernel."""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from workers.codec import CoolChicParameter, SynthesisLayer
from workers.codec.family import Chroma
from workers.measure.kernel.library import Rectangle, long, pointer

MAX_CHANNELS = 64
"""Of any layer of a synthesis that the kernel can evaluate."""

SMALL_INPUT = 20480
"""Torch convolves inputs of at most so many numbers in another way, whose bits the kernel does not give."""

_ALIGN = 64
"""Rows of the kernel's buffers are a multiple of so many pixels wide, or of a divisor of it."""


class _LayerShape(ctypes.Structure):
    _fields_ = tuple((name, long) for name in ("n_in", "n_out", "size", "residual", "relu"))


class _SynthesisBlock(ctypes.Structure):
    _fields_ = (
        *((name, long) for name in ("n_layers", "n_pointwise", "n_candidates", "n_biases")),
        *((name, long) for name in ("n_stabilised", "transformed")),
        ("layers", pointer),
        ("weights", pointer),
        ("biases", pointer),
        ("share", long),
    )


class _FrameTarget(ctypes.Structure):
    _fields_ = (
        ("samples", pointer),
        ("height", long),
        ("width", long),
        ("maximum", ctypes.c_float),
        ("chroma", long),
    )


CHROMA = {None: 0, Chroma.EVEN: 1, Chroma.MEAN: 2}
"""How chroma is sampled, as the kernel calls it; ``None`` for samples of full size."""


class Convolution(NamedTuple):
    """A 1×1 convolution of candidates that share its weights.

    Attributes:
        weight: ``[out, in, 1, 1]``.
        bias: ``[n_candidates, out]``.
    """

    weight: Tensor
    bias: Tensor


class SynthesisLayers(NamedTuple):
    """Candidates of a synthesis that share their weights.

    Attributes:
        layers: of the synthesis.
        weights: ``[out, in, k, k]`` of each layer.
        biases: ``[n_candidates, out]`` of each layer.
        stabiliser: of the input's first channels; it is added to the output.
        transform: of the output, the last of all.
    """

    layers: Sequence[SynthesisLayer]
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    stabiliser: Convolution | None = None
    transform: Convolution | None = None


class SynthesisBlock:
    """Candidates of a synthesis that share their weights, in the kernel's form.

    Args:
        library: the kernel.
        synthesis: the candidates; see :func:`supports`.
        share: whether the first product is computed once for all candidates. Then its bias is added last, and the
            samples are no longer torch's to the last digit.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        synthesis: SynthesisLayers,
        *,
        share: bool,
    ) -> None:
        layers, weights, biases, *ending = synthesis
        stabiliser, transform = ending
        self._library = library
        self._n_pointwise = n_pointwise(layers)
        packed = [
            weight.reshape(-1) if i < self._n_pointwise else weight.permute(2, 3, 1, 0).reshape(-1)
            for i, weight in enumerate(weights)
        ]
        ends = [convolution for convolution in (stabiliser, transform) if convolution is not None]
        self._weights = torch.cat([*packed, *(convolution.weight.reshape(-1) for convolution in ends)])
        self._biases = torch.cat([*biases, *(convolution.bias for convolution in ends)], dim=1).contiguous()
        self._n_stabilised = 0 if stabiliser is None else stabiliser.weight.shape[1]
        self._transformed = transform is not None
        shapes = (
            _LayerShape(weight.shape[1], layer.out_channels, layer.kernel_size, layer.residual, layer.relu)
            for layer, weight in zip(layers, weights, strict=True)
        )
        self._layers = (_LayerShape * len(layers))(*shapes)
        self._n_channels = max(layer.out_channels for layer in layers[self._n_pointwise - 1 :])
        self._reach = sum(layer.kernel_size // 2 for layer in layers)
        self._share = share

    def workspace_floats(self, rows: int, columns: int) -> int:
        """Size of the workspace for a tile."""
        stride = -(-(columns + 2 * self._reach) // _ALIGN) * _ALIGN
        plane = (rows + 2 * self._reach) * stride + _ALIGN
        stable = 3 if self._n_stabilised else 0
        return ((len(self._biases) + 1) * self._n_channels + stable) * plane + _ALIGN

    def pointwise(self, dense: Tensor) -> Tensor:
        """Output of the leading 1×1 layers, for every candidate.

        Args:
            dense: input of the synthesis, ``[L, H, W]``, contiguous.

        Returns:
            ``[n_candidates, channels, H, W]``.
        """
        _, height, width = dense.shape
        out = torch.empty(len(self._biases), self._layers[self._n_pointwise - 1].n_out, height, width)
        block = self._block()
        self._library.qsweep_pointwise(ctypes.byref(block), dense.data_ptr(), height * width, out.data_ptr())
        return out

    def _block(self) -> _SynthesisBlock:
        return _SynthesisBlock(
            len(self._layers),
            self._n_pointwise,
            len(self._biases),
            self._biases.shape[1],
            self._n_stabilised,
            self._transformed,
            ctypes.addressof(self._layers),
            self._weights.data_ptr(),
            self._biases.data_ptr(),
            self._share,
        )

    def squared_errors(
        self,
        dense: Tensor,
        samples: Tensor,
        maximum: int,
        chroma: Chroma | None,
        tile: tuple[int, int, int, int],
        workspace: Tensor,
    ) -> Tensor:
        """Sums of squared errors of a tile, plane by plane, in units of ``1/maximum²``, for every candidate.

        Args:
            dense: input of the synthesis, ``[L, H, W]``, contiguous.
            samples: the original frame, ``[3, H, W]`` in 0…maximum, contiguous; sampled chroma in every second row
                and column.
            maximum: of a sample.
            chroma: how it is sampled; ``None`` for samples of full size.
            tile: top, left, rows and columns; the first two are even.
            workspace: at least :meth:`workspace_floats`.

        Returns:
            ``[n_candidates, 3]`` float64.
        """
        block = self._block()
        height, width = samples.shape[-2:]
        target = _FrameTarget(samples.data_ptr(), height, width, maximum, CHROMA[chroma])
        sums = torch.empty(len(self._biases), 3, dtype=torch.float64)
        self._library.qsweep_synthesis(
            ctypes.byref(block),
            ctypes.byref(target),
            dense.data_ptr(),
            Rectangle(*tile),
            self._n_channels,
            workspace.data_ptr(),
            sums.data_ptr(),
        )
        return sums


def n_pointwise(layers: Sequence[SynthesisLayer]) -> int:
    """Number of leading 1×1 layers."""
    return next((i for i, layer in enumerate(layers) if layer.kernel_size > 1), len(layers))


def supports(param: CoolChicParameter) -> bool:
    """Whether the kernel can evaluate a synthesis: one that begins with a 1×1 layer and is not too wide."""
    layers = param.layers_synthesis
    widest = max(param.n_inputs_synthesis, *(layer.out_channels for layer in layers))
    return n_pointwise(layers) > 0 and widest <= MAX_CHANNELS
