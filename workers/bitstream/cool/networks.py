"""Upsampling and synthesis of a cool-chic in single precision, without torch.

Torch takes longer to load than most pictures take to decode. Sums are added up in another order than torch adds
them, as they are by other versions of torch, and on other machines.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from workers.bitstream.cool.coolchic_header import CoolChicHeader
from workers.bitstream.cool.kernel.convolution import Floats, convolve
from workers.bitstream.cool.kernel.library import load
from workers.bitstream.cool.order import SYNTHESIS, UPSAMPLING, coded_tensors
from workers.bitstream.cool.parameters import Parameters
from workers.candidates import KINDS

_TILE_NUMBERS = 1 << 19
"""Of one activation of a tile that goes through the synthesis at a time, about: it stays in the cache."""

_TILE_COLUMNS = 2048


class _Convolution(NamedTuple):
    """A convolution with replicate padding: ``[out, in, k, k]``, ``[out]``."""

    weight: Floats
    bias: Floats
    residual: bool = False
    relu: bool = False


class Networks:
    """The networks of a cool-chic that make its output of its latents.

    Args:
        header: of the cool-chic.
        parameters: of its networks.
    """

    def __init__(self, header: CoolChicHeader, parameters: Parameters) -> None:
        self._architecture = header.architecture
        self._values: Mapping[str, Floats] = {
            # Exact: a parameter has at most 24 significant bits.
            name: np.ldexp(parameters[name].astype(np.float32), header.codings[module, kind].exponent)
            for (module, kind), shapes in coded_tensors(header.architecture).items()
            if module in (UPSAMPLING, SYNTHESIS)
            for name in shapes
        }

    def upsample(self, latents: Sequence[Floats]) -> Floats:
        """One dense tensor ``[C, h, w]``, a channel for each resolution, of the size of the finest one.

        Args:
            latents: ``[h, w]`` of each resolution, the finest one first.
        """
        *finer, coarsest = latents
        dense = coarsest[None]
        for step, target in enumerate(reversed(finer)):
            even = self._kernel("conv_transpose2ds", step, self._architecture.ups_k_size)
            odd = self._kernel("conv2ds", step, self._architecture.ups_preconcat_k_size)
            height, width = target.shape
            joined = np.empty((len(dense) + 1, height, width), np.float32)
            joined[0] = _filter(_filter(target, 1, odd), 0, odd) + target
            for channel, smaller in zip(joined[1:], dense, strict=True):
                channel[:] = _double(_double(smaller, 1, even), 0, even)[:height, :width]
            dense = joined
        return dense

    def synthesize(self, dense: Floats) -> Floats:
        """Output ``[out, h, w]`` of the synthesis of ``[C, h, w]``."""
        main, stabiliser, output = self._synthesis()
        _, height, width = dense.shape
        reach = sum(layer.weight.shape[-1] // 2 for layer in main)
        widest = max(len(dense), *(len(layer.bias) for layer in main))
        columns = min(width, _TILE_COLUMNS)
        rows = max(1, 2 * reach, _TILE_NUMBERS // (columns * widest))
        image = np.empty((len(output.bias), height, width), np.float32)
        for top, left in itertools.product(range(0, height, rows), range(0, width, columns)):
            # What later layers take from around the tile is computed with it.
            above, before = min(top, reach), min(left, reach)
            tile = dense[:, top - above : top + rows + reach, left - before : left + columns + reach]
            x = tile
            for layer in main:
                x = _convolve(x, layer)
            if stabiliser is not None:
                x = x + _convolve(tile[: stabiliser.weight.shape[1]], stabiliser)
            x = x[:, above : above + rows, before : before + columns]
            image[:, top : top + rows, left : left + columns] = _convolve(x, output)
        return image

    def _kernel(self, name: str, step: int, size: int) -> Floats:
        half = self._values[f"{UPSAMPLING}.{name}.{step}.parametrizations.weight.original"]
        return np.concatenate([half, half[::-1][size % 2 :]])

    def _synthesis(self) -> tuple[list[_Convolution], _Convolution | None, _Convolution]:
        def convolution(name: str, residual: bool = False, relu: bool = False) -> _Convolution:
            weight, bias = (self._values[f"{SYNTHESIS}.{name}.{kind}"] for kind in KINDS)
            return _Convolution(weight, bias, residual, relu)

        main = [
            convolution(f"main_branch.{2 * j}", layer.residual, layer.relu)
            for j, layer in enumerate(self._architecture.layers_synthesis)
        ]
        stabilised = self._architecture.linear_stabiliser_synth
        return main, convolution("stabiliser_branch") if stabilised else None, convolution("output_transform")


def _double(plane: Floats, axis: int, kernel: Floats) -> Floats:
    """Twice the samples along an axis: a cropped transposed convolution of stride 2, borders replicated."""
    n, p = plane.shape[axis], len(kernel) // 2
    reach = p // 2 + 1
    padded = np.pad(plane, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
    shape = list(plane.shape)
    shape[axis] *= 2
    doubled = np.empty(shape, np.float32)
    for phase in (0, 1):
        # Output 2m + phase takes from input m + shift the entry phase + p − 1 − 2 shift.
        entries = {shift: phase + p - 1 - 2 * shift for shift in range(-reach, reach + 1)}
        terms = {reach + shift: kernel[entry] for shift, entry in entries.items() if 0 <= entry < len(kernel)}
        doubled[_along(axis, phase, None, 2)] = _weighted(padded, axis, n, terms)
    return doubled


def _filter(plane: Floats, axis: int, kernel: Floats) -> Floats:
    """A symmetric odd filter along an axis, zeros outside."""
    p = len(kernel) // 2
    padded = np.pad(plane, [(p, p) if a == axis else (0, 0) for a in (0, 1)])
    return _weighted(padded, axis, plane.shape[axis], dict(enumerate(kernel)))


def _weighted(padded: Floats, axis: int, n: int, terms: Mapping[int, np.float32]) -> Floats:
    """Sum of ``n`` samples along an axis from each of some starts, each times its weight."""
    total: Floats | None = None
    for start, weight in terms.items():
        term = padded[_along(axis, start, start + n)] * weight
        total = term if total is None else np.add(total, term, out=total)
    assert total is not None
    return total


def _along(axis: int, start: int, stop: int | None, step: int | None = None) -> tuple[slice, ...]:
    """Index of a plane: a slice of one axis."""
    return (slice(None),) * axis + (slice(start, stop, step),)


def _convolve(x: Floats, layer: _Convolution) -> Floats:
    """``[in, h, w]`` to ``[out, h, w]``."""
    n_in, height, width = x.shape
    k = layer.weight.shape[-1]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)), mode="edge") if k > 1 else x
    if (library := load()) is not None:
        residual = x if layer.residual else None
        return convolve(library, padded, layer.weight, layer.bias, residual, relu=layer.relu)
    y = np.repeat(layer.bias[:, None], height * width, axis=1)
    for dy, dx in itertools.product(range(k), repeat=2):
        y += layer.weight[:, :, dy, dx] @ padded[:, dy : dy + height, dx : dx + width].reshape(n_in, -1)
    y = y.reshape(-1, height, width)
    if layer.residual:
        y += x
    return np.maximum(y, 0, out=y) if layer.relu else y
