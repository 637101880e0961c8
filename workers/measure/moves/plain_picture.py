"""Squared error of the picture in exact sums, with torch: all of it is computed for every move."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from workers.measure.moves.fixed_point import PICTURE_UNIT, to_multiple
from workers.measure.moves.parameters import Doubles, Edit, Layer, edited
from workers.measure.moves.picture_layers import PictureLayers
from workers.measure.moves.picture_source import PictureSource


class PlainPicture:
    """Measures moves of the synthesis without the kernel.

    Args:
        source: of the picture.
        layers: of the synthesis.
        parameters: of the synthesis, that it begins with.
        dense: its input, ``[C, h, w]``.
    """

    def __init__(self, source: PictureSource, layers: PictureLayers, parameters: Doubles, dense: Tensor) -> None:
        self._source, self._layers, self._parameters, self._dense = source, layers, parameters, dense
        self.cost = source.squared_error(self._image(parameters, dense))

    def _image(self, parameters: Doubles, dense: Tensor) -> Tensor:
        return self._source.image(synthesize(self._layers, parameters, dense))

    def measure(self, moves: Sequence[Sequence[Edit]]) -> list[int]:
        """Squared error after each of some moves."""
        return [
            self._source.squared_error(self._image(edited(self._parameters, move), self._dense)) for move in moves
        ]

    def screen(self, moves: Sequence[Sequence[Edit]]) -> list[int]:
        """Estimated change of the squared error, from some bands of rows."""
        source, (n_all, n_poll) = self._source, self._source.poll_ratio
        before = source.squared_error(self._image(self._parameters, self._dense), source.bands)
        images = (self._image(edited(self._parameters, move), self._dense) for move in moves)
        return [(source.squared_error(image, source.bands) - before) * n_all // n_poll for image in images]

    def accept(self, move: Sequence[Edit]) -> None:
        """Make a move."""
        self._parameters = edited(self._parameters, move)
        self.cost = self._source.squared_error(self._image(self._parameters, self._dense))

    def with_input(self, dense: Tensor) -> int:
        """Squared error with another input."""
        return self._source.squared_error(self._image(self._parameters, dense))

    def set_input(self, dense: Tensor) -> None:
        """Take another input for good."""
        self._dense = dense
        self.cost = self.with_input(dense)


def synthesize(layers: PictureLayers, parameters: Doubles, dense: Tensor) -> Tensor:
    """Outputs of the synthesis, ``[n_outputs, h, w]``."""
    x = dense
    for layer, shape in zip(layers.main, layers.shapes, strict=True):
        weight, bias = _of(parameters, layer)
        pad = shape.kernel_size // 2
        around = F.pad(x[None], (pad, pad, pad, pad), mode="replicate") if pad else x[None]
        y = F.conv2d(around, weight)[0] + bias
        y = y + x if shape.residual else y
        x = to_multiple(y.clamp_min(0) if shape.relu else y, PICTURE_UNIT)
    if layers.stabiliser is not None:
        weight, bias = _of(parameters, layers.stabiliser)
        x = to_multiple(x + (F.conv2d(dense[None, : layers.n_latents], weight)[0] + bias), PICTURE_UNIT)
    if layers.transform is not None:
        weight, bias = _of(parameters, layers.transform)
        x = to_multiple(F.conv2d(x[None], weight)[0] + bias, PICTURE_UNIT)
    return x


def _of(parameters: Doubles, layer: Layer) -> tuple[Tensor, Tensor]:
    return parameters[layer.weight], parameters[layer.bias][:, None, None]
