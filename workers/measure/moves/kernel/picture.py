"""Squared error of the picture after moves, in the compiled kernel."""

import ctypes
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from workers.codec.family import Chroma
from workers.measure.moves.kernel.library import (
    MARGIN,
    MAX_LAYERS,
    Convolution,
    PictureFrame,
    PictureNetwork,
    PictureState,
    need_memory,
    pointer,
)
from workers.measure.moves.kernel.packing import Moves, Packed
from workers.measure.moves.parameters import Doubles, Edit
from workers.measure.moves.picture_layers import PictureLayers
from workers.measure.moves.picture_source import PictureSource

_CHROMA = {None: 0, Chroma.EVEN: 1, Chroma.MEAN: 2}
_WRITTEN = -1
_SYNTHESIS = ""


def supports(layers: PictureLayers) -> bool:
    """Whether the kernel takes such a synthesis."""
    return len(layers.main) <= MAX_LAYERS


class PictureKernel:
    """Measures moves of the synthesis.

    Args:
        library: the kernel.
        source: of the picture.
        layers: of the synthesis; see :func:`supports`.
        parameters: of the synthesis, that it begins with.
        dense: its input, ``[C, h, w]``.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        source: PictureSource,
        layers: PictureLayers,
        parameters: Doubles,
        dense: Tensor,
    ) -> None:
        self._library, self._source = library, source
        self._parameters = packed = Packed({_SYNTHESIS: parameters})
        height, width = dense.shape[-2:]
        self._shape = (layers.n_outputs, height, width)
        n_inputs = (layers.n_inputs, *(shape.out_channels for shape in layers.shapes))
        convolutions = []
        for layer, shape, n_in in zip(layers.main, layers.shapes, n_inputs, strict=False):
            linear = packed.linear(_SYNTHESIS, layer)
            flags = (shape.kernel_size, shape.residual, shape.relu)
            convolutions.append(Convolution(n_in, shape.out_channels, *flags, linear.weight, linear.bias))
        self._layers = (Convolution * len(convolutions))(*convolutions)
        self._network = PictureNetwork(
            len(convolutions),
            layers.n_latents,
            layers.n_outputs,
            ctypes.addressof(self._layers),
            packed.linear(_SYNTHESIS, layers.stabiliser),
            packed.linear(_SYNTHESIS, layers.transform),
        )
        self._target = source.target.contiguous()
        chroma = _WRITTEN if source.resized else _CHROMA[source.chroma]
        stride = width + 2 * MARGIN
        self._frame = PictureFrame(height, width, stride, source.maximum, chroma, self._target.data_ptr())
        self._activations = [torch.zeros(n, height, stride, dtype=torch.float64) for n in n_inputs]
        n_sums = (layers.n_outputs if layers.stabiliser else 0, *n_inputs[1:])
        self._sums = [torch.zeros(n, height, stride, dtype=torch.float64) for n in n_sums]
        empty = [None] * (MAX_LAYERS - len(convolutions))
        self._state = PictureState(
            *(
                (pointer * (MAX_LAYERS + 1))(*(plane.data_ptr() for plane in planes), *empty)
                for planes in (self._activations, self._sums)
            )
        )
        self._written = torch.empty(self._shape if source.resized else 0, dtype=torch.float64)
        self.cost = self._begin(dense, keep=True)
        self._bands = np.array(source.bands, dtype=np.int64)
        self._all = np.array([(0, height)], dtype=np.int64)

    def measure(self, moves: Moves) -> list[int]:
        """Squared error after each of some moves."""
        return self._run(moves, self._all)

    def screen(self, moves: Moves) -> list[int]:
        """Estimated change of the squared error, from some bands of rows."""
        if self._source.resized:
            return [cost - self.cost for cost in self.measure(moves)]
        n_all, n_poll = self._source.poll_ratio
        before, *after = self._run([(), *moves], self._bands)
        return [(cost - before) * n_all // n_poll for cost in after]

    def accept(self, move: Sequence[Edit]) -> None:
        """Make a move."""
        (self.cost,) = self._run([move], self._all, commit=True)

    def with_input(self, dense: Tensor) -> int:
        """Squared error with another input."""
        return self._begin(dense, keep=False)

    def set_input(self, dense: Tensor) -> None:
        """Take another input for good."""
        self.cost = self._begin(dense, keep=True)

    def _begin(self, dense: Tensor, *, keep: bool) -> int:
        kept = self._activations[0]
        planes = F.pad(dense, (MARGIN, MARGIN), mode="replicate")
        difference = planes - kept
        cost = ctypes.c_double()
        ready = self._library.qsweep_picture_begin(
            *self._pointers,
            difference.data_ptr(),
            keep,
            self._written_address,
            ctypes.byref(cost),
        )
        need_memory(ready)
        if keep:
            kept.copy_(planes)
        return self._error(cost.value)

    def _run(self, moves: Moves, bands: NDArray[np.int64], *, commit: bool = False) -> list[int]:
        if self._source.resized and len(moves) > 1:  # there is one place for the output
            return [cost for move in moves for cost in self._run([move], bands)]
        changes, starts = self._parameters.pack(_SYNTHESIS, moves)
        costs = np.empty(len(moves))
        ready = self._library.qsweep_picture_moves(
            *self._pointers,
            bands.ctypes.data,
            len(bands),
            changes,
            starts,
            len(moves),
            commit,
            self._written_address,
            costs.ctypes.data,
        )
        need_memory(ready)
        return [self._error(cost) for cost in costs.tolist()]

    @property
    def _pointers(self) -> tuple[object, ...]:
        structures = (self._network, self._frame, self._state)
        return (*(ctypes.byref(structure) for structure in structures), self._parameters.address)

    @property
    def _written_address(self) -> int | None:
        return self._written.data_ptr() if self._source.resized else None

    def _error(self, cost: float) -> int:
        if self._source.resized:
            return self._source.squared_error(self._source.image(self._written))
        return round(cost)
