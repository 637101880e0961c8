"""The compiled kernel (``kernel.c``), where it was built: the same measurements as in torch, fused.

It is built when qsweep is installed, once per instruction set of x86, and once without any. Where there is no C
compiler it is not, and the engine measures with torch alone. It gives the bits of torch's own convolutions, as they
are on the CPUs it was compared on, but where it shares a product.
"""

import ctypes
import importlib.util
import logging
import platform
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from workers.codec import SynthesisLayer

_log = logging.getLogger(__name__)

MAX_CHANNELS = 64
"""Of any layer of a synthesis that the kernel can evaluate."""

SMALL_INPUT = 20480
"""Torch convolves inputs of at most so many numbers in another way, whose bits the kernel does not give."""

_ALIGN = 64
"""Rows of the kernel's buffers are a multiple of so many pixels wide, or of a divisor of it."""

_long = ctypes.c_long
_pointer = ctypes.c_void_p


class _ArmBlock(ctypes.Structure):
    _fields_ = (
        ("dim", _long),
        ("n_hidden", _long),
        ("n_candidates", _long),
        ("offsets", _pointer),
        ("weights", _pointer),
        ("biases", _pointer),
    )


class _LayerShape(ctypes.Structure):
    _fields_ = tuple((name, _long) for name in ("n_in", "n_out", "size", "residual", "relu"))


class _SynthesisBlock(ctypes.Structure):
    _fields_ = (
        *((name, _long) for name in ("n_layers", "n_pointwise", "n_candidates", "n_biases")),
        ("layers", _pointer),
        ("weights", _pointer),
        ("biases", _pointer),
        ("share", _long),
    )


class _FrameTarget(ctypes.Structure):
    _fields_ = (
        ("samples", _pointer),
        ("height", _long),
        ("width", _long),
        ("maximum", ctypes.c_float),
        ("subsampled", _long),
    )


class _Rectangle(ctypes.Structure):
    _fields_ = tuple((name, _long) for name in ("top", "left", "rows", "columns"))


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
        """Evaluate some rows of one grid.

        Args:
            padded: the grid with ``pad`` zeros around it, and 16 floats behind it in the same storage.
            top: first of the rows.
            rows: their number.
            width: of the grid.
            pad: see above.
            out: ``[2, n_candidates, rows · width]``, written.
        """
        stride = padded.stride(0)
        offsets = (_long * len(self._offsets))(*(dy * stride + dx for dy, dx in self._offsets))
        block = _ArmBlock(
            len(self._offsets),
            self._n_hidden,
            len(self._biases),
            ctypes.addressof(offsets),
            self._weights.data_ptr(),
            self._biases.data_ptr(),
        )
        first = padded[top + pad :, pad:].data_ptr()
        self._library.qsweep_arm(ctypes.byref(block), first, stride, rows, width, out.data_ptr())


class SynthesisBlock:
    """Candidates of a synthesis that share their weights, in the kernel's form.

    Args:
        library: the kernel.
        layers: of the synthesis; see :func:`supports`.
        weights: ``[out, in, k, k]`` of each layer.
        biases: ``[n_candidates, out]`` of each layer.
        share: whether the first product is computed once for all candidates. Then its bias is added last, and the
            samples are no longer torch's to the last digit.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        layers: Sequence[SynthesisLayer],
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        *,
        share: bool,
    ) -> None:
        self._library = library
        self._n_pointwise = n_pointwise(layers)
        packed = [
            weight.reshape(-1) if i < self._n_pointwise else weight.permute(2, 3, 1, 0).reshape(-1)
            for i, weight in enumerate(weights)
        ]
        self._weights = torch.cat(packed)
        self._biases = torch.cat(list(biases), dim=1).contiguous()
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
        return (len(self._biases) + 1) * self._n_channels * plane + _ALIGN

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
        subsampled: bool,
        tile: tuple[int, int, int, int],
        workspace: Tensor,
    ) -> Tensor:
        """Sum of squared errors of a tile, in units of ``1/maximum²``, for every candidate.

        Args:
            dense: input of the synthesis, ``[L, H, W]``, contiguous.
            samples: the original frame, ``[3, H, W]`` in 0…maximum, contiguous.
            maximum: of a sample.
            subsampled: whether chroma counts in every second row and column alone.
            tile: top, left, rows and columns; the first two are even.
            workspace: at least :meth:`workspace_floats`.

        Returns:
            ``[n_candidates]`` float64.
        """
        block = self._block()
        height, width = samples.shape[-2:]
        target = _FrameTarget(samples.data_ptr(), height, width, maximum, subsampled)
        sums = torch.empty(len(self._biases), dtype=torch.float64)
        self._library.qsweep_synthesis(
            ctypes.byref(block),
            ctypes.byref(target),
            dense.data_ptr(),
            _Rectangle(*tile),
            self._n_channels,
            workspace.data_ptr(),
            sums.data_ptr(),
        )
        return sums


def n_pointwise(layers: Sequence[SynthesisLayer]) -> int:
    """Number of leading 1×1 layers."""
    return next((i for i, layer in enumerate(layers) if layer.kernel_size > 1), len(layers))


def supports(layers: Sequence[SynthesisLayer]) -> bool:
    """Whether the kernel can evaluate a synthesis: one that begins with a 1×1 layer and is not too wide."""
    return n_pointwise(layers) > 0 and max(layer.out_channels for layer in layers) <= MAX_CHANNELS


@cache
def load() -> ctypes.CDLL | None:
    """The kernel for this machine's instructions; ``None`` where it was not built."""
    for name in _names():
        spec = importlib.util.find_spec(f"workers.measure.{name}")
        if spec is not None and spec.origin is not None:
            library = ctypes.CDLL(spec.origin)
            library.qsweep_arm.argtypes = (_pointer, _pointer, _long, _long, _long, _pointer)
            library.qsweep_arm.restype = None
            library.qsweep_pointwise.argtypes = (_pointer, _pointer, _long, _pointer)
            library.qsweep_pointwise.restype = None
            library.qsweep_synthesis.argtypes = (
                _pointer,
                _pointer,
                _pointer,
                _Rectangle,
                _long,
                _pointer,
                _pointer,
            )
            library.qsweep_synthesis.restype = None
            _log.info("compiled kernel: %s", name)
            return library
    _log.info("compiled kernel: none was built, torch alone is used")
    return None


def _names() -> list[str]:
    """Builds that this machine can run, the fastest one first."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ["_kernel"]
    capability = torch.backends.cpu.get_cpu_capability()  # what torch found when it was imported
    builds = {"AVX512": "_kernel_avx512", "AVX2": "_kernel_avx2"}
    first = list(builds).index(capability) if capability in builds else len(builds)
    return [*list(builds.values())[first:], "_kernel"]
