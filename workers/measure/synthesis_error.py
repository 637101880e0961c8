"""Squared errors of the decoded frame under many candidates of the synthesis at a time."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec import CoolChicParameter, SynthesisLayer
from workers.codec.resize import resize
from workers.codec.synthesis import convolve
from workers.measure import kernel
from workers.measure.cost import Parameters, Workspace, stack
from workers.measure.target import FrameTile, Target
from workers.plain import plain_arithmetic

_SMALL_FRAME = 1 << 15
"""Frames of at most so many samples are decoded as the codec does it, bit for bit, candidate by candidate: one
sample that falls to the other side of a rounding, for want of the same order of sums, weighs too much there."""

_SHARE_SAMPLES = 1 << 17
"""Frames of more samples share their first product among the biases of a weight step, with the compiled kernel too,
which could do without for the bits of the codec."""

_POLLED = 3
"""Tiles that are polled, spread over the frame."""

_GRID = 64
"""With its margins a tile is a multiple of so many pixels wide: the kernel computes that many at a time."""


class SynthesisError:
    """Squared errors of the decoded frame, by plane, in units of ``1/M²``; see :class:`~workers.measure.cost.Cost`.

    Args:
        param: of the cool-chic that is the picture; :meth:`behind` gives the input of its synthesis.
        target: the original frame.
        tile: pixels that are evaluated together, about.
        compiled: whether to use the compiled kernel, if there is one.
    """

    def __init__(self, param: CoolChicParameter, target: Target, tile: int, *, compiled: bool = True) -> None:
        height, width = target.samples.shape[-2:]
        on_cpu = target.samples.device.type == "cpu"
        layers = param.layers_synthesis
        self._dense = target.samples.new_empty(param.n_inputs_synthesis, 0, 0)
        self._param = param
        self._layers = layers
        self._target = target
        self._tile = tile
        self._kernel = kernel.load() if compiled and on_cpu and kernel.supports(param) else None
        self._workspace = Workspace(target.samples.device)
        self._share = target.samples.numel() > _SHARE_SAMPLES
        inputs = [param.n_inputs_synthesis, *(layer.out_channels for layer in layers)][: len(layers)]
        pixels = -(-height >> param.resolution_synthesis) * -(-width >> param.resolution_synthesis)
        n_exact = next((i for i, n in enumerate(inputs) if n * pixels <= kernel.SMALL_INPUT), len(layers))
        small = target.samples.numel() <= _SMALL_FRAME and (self._kernel is None or n_exact < len(layers))
        # What is resized is small, and a sample of the frame depends on others than those under it.
        self._whole = small or param.resolution_synthesis > 0
        self._pointwise_compiled = self._kernel is not None and n_exact >= kernel.n_pointwise(layers)
        self.parallel = on_cpu and (self._pointwise_compiled or not self._whole)
        if self._whole:
            self.tiles = [FrameTile(0, 0, height, width)]
        else:
            margin = 2 * sum(layer.kernel_size // 2 for layer in layers)
            self.tiles = list(_tiles(height, width, margin, tile))
        n_tiles = len(self.tiles)
        self.poll = sorted({(2 * i + 1) * n_tiles // (2 * _POLLED) for i in range(_POLLED)})

    @property
    def fast_kernel(self) -> ctypes.CDLL | None:
        """The kernel, where the frame is so large that the codec's bits do not matter."""
        return self._kernel if self._share else None

    def behind(self, dense: Tensor) -> "SynthesisError":
        """The same with an input of the synthesis, ``[C, h, w]``; buffers are shared."""
        other = copy(self)
        other._dense = dense.contiguous()
        return other

    def evaluator(self, candidates: Sequence[Parameters]) -> Callable[[FrameTile], Tensor]:
        """Squared errors of a tile for every candidate, ``[n_candidates, 3]``."""
        synthesis = self._layers_of(candidates)
        block = None
        if self._kernel is not None and (self._pointwise_compiled or not self._whole):
            block = kernel.SynthesisBlock(self._kernel, synthesis, share=self._share)
        if self._whole:
            return lambda tile: self._squared_errors_as_codec(tile, synthesis, block)
        if block is None:
            return lambda tile: self._squared_errors(tile, synthesis)
        return lambda tile: self._squared_errors_compiled(tile, block)

    def _layers_of(self, candidates: Sequence[Parameters]) -> kernel.SynthesisLayers:
        names = [f"{self._param.family.synthesis_layers}.{2 * i}" for i in range(len(self._layers))]

        def convolution(name: str) -> kernel.Convolution:
            return kernel.Convolution(candidates[0][f"{name}.weight"], stack(candidates, f"{name}.bias"))

        convolutions = list(map(convolution, names))
        return kernel.SynthesisLayers(
            self._layers,
            [weight for weight, _ in convolutions],
            [bias for _, bias in convolutions],
            convolution("stabiliser_branch") if self._param.linear_stabiliser_synth else None,
            convolution("output_transform") if self._param.output_transform else None,
        )

    def _squared_errors_as_codec(
        self, tile: FrameTile, synthesis: kernel.SynthesisLayers, block: kernel.SynthesisBlock | None
    ) -> Tensor:
        """The whole frame, layer by layer as the codec does it, candidate by candidate."""
        layers, weights, biases, stabiliser, transform = synthesis
        n_done = 0 if block is None else kernel.n_pointwise(layers)
        # Beyond the 1×1 layers, inputs this small give the same bits with any number of threads.
        conditions = plain_arithmetic(self._param.family.plain_threads) if block is None else nullcontext()
        inputs = self._dense.expand(len(biases[0]), -1, -1, -1) if block is None else block.pointwise(self._dense)
        parts = []
        with conditions:
            for k, x in enumerate(inputs[:, None]):
                for layer, weight, bias in list(zip(layers, weights, biases, strict=True))[n_done:]:
                    x = convolve(x, weight, bias[k], residual=layer.residual)
                    x = x.relu() if layer.relu else x
                if stabiliser is not None:
                    latents = self._dense[None, : self._param.n_latents]
                    x = x + convolve(latents, stabiliser.weight, stabiliser.bias[k], residual=False)
                if transform is not None:
                    x = convolve(x, transform.weight, transform.bias[k], residual=False)
                x = resize(x, *self._param.img_size, self._param.final_upsampling_type)
                parts.append(self._target.squared_errors(x, tile))
        return torch.cat(parts)

    def _squared_errors_compiled(self, tile: FrameTile, block: kernel.SynthesisBlock) -> Tensor:
        target = self._target
        workspace = self._workspace.floats("planes", block.workspace_floats(tile.rows, tile.columns))
        return block.squared_errors(self._dense, target.samples, target.maximum, target.chroma, tile, workspace)

    def _squared_errors(self, tile: FrameTile, synthesis: kernel.SynthesisLayers) -> Tensor:
        """In torch: as many candidates at a time as make a tile's worth of pixels, one at least."""
        layers, weights, biases, stabiliser, transform = synthesis
        n_pointwise = kernel.n_pointwise(layers)
        height, width = self._dense.shape[-2:]
        reach = sum(layer.kernel_size // 2 for layer in layers)
        window = tile.grown(reach, height, width)
        pixels = self._dense[:, window.top : window.bottom, window.left : window.right].flatten(1)  # [C, P]
        shared = weights[0].flatten(1) @ pixels if n_pointwise else pixels  # [out, P]
        stable = None
        if stabiliser is not None:
            inside = self._dense[:, tile.top : tile.bottom, tile.left : tile.right].flatten(1)
            stable = stabiliser.weight.flatten(1) @ inside[: self._param.n_latents]  # [3, pixels of the tile]
        at_once = max(1, self._tile // pixels.shape[1])
        parts = []
        for k in range(0, len(biases[0]), at_once):
            some = [bias[k : k + at_once, :, None] for bias in biases]
            x = shared.expand(len(some[0]), -1, -1)
            if n_pointwise:
                x = self._pointwise(shared, pixels, weights[:n_pointwise], some)
            x = x.view(*x.shape[:2], window.rows, window.columns)
            before, remaining = window, reach
            for layer, weight, bias in list(zip(layers, weights, some, strict=True))[n_pointwise:]:
                remaining -= layer.kernel_size // 2
                after = tile.grown(remaining, height, width)
                x = _convolution(x, layer, weight, bias[..., None], before, after)
                before = after
            x = x.flatten(2)
            if stabiliser is not None and stable is not None:
                x = x + (stable + stabiliser.bias[k : k + at_once, :, None])
            if transform is not None:
                x = torch.matmul(transform.weight.flatten(1), x) + transform.bias[k : k + at_once, :, None]
            parts.append(self._target.squared_errors(x.view(len(x), -1, tile.rows, tile.columns), tile))
        return torch.cat(parts)

    def _pointwise(
        self, shared: Tensor, pixels: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]
    ) -> Tensor:
        """The leading 1×1 layers of some pixels, for some candidates.

        Args:
            shared: product of the first layer, ``[out, P]``.
            pixels: its input, ``[L, P]``.
            weights: ``[out, in, 1, 1]`` of each of these layers.
            biases: ``[n_candidates, out, 1]`` of each layer.

        Returns:
            ``[n_candidates, out, P]``.
        """
        x, product = pixels, shared
        for i, (weight, layer) in enumerate(zip(weights, self._layers, strict=False)):
            out = self._workspace.floats(f"layer {i}", len(biases[i]), len(weight), shared.shape[1])
            if i:
                product = torch.matmul(weight.flatten(1), x, out=out)
            torch.add(product, biases[i], out=out)
            if layer.residual:
                out += x
            x = out.relu_() if layer.relu else out
        return x


def _convolution(
    x: Tensor, layer: SynthesisLayer, weight: Tensor, bias: Tensor, before: FrameTile, after: FrameTile
) -> Tensor:
    """A larger layer, with the frame's border replicated: channels ``in`` to ``out``."""
    pad = layer.kernel_size // 2
    top, left = after.top - before.top, after.left - before.left
    bottom, right = before.bottom - after.bottom, before.right - after.right
    padded = F.pad(x, (pad - left, pad - right, pad - top, pad - bottom), mode="replicate")
    y = F.conv2d(padded, weight) + bias
    if layer.residual:
        y += x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]
    return y.relu_() if layer.relu else y


def _tiles(height: int, width: int, margin: int, tile: int) -> Iterator[FrameTile]:
    columns = max(_GRID, round(tile**0.5) // _GRID * _GRID) - margin % _GRID
    columns = max(2, columns - columns % 2)
    rows = max(2, tile // (columns + margin) // 2 * 2)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield FrameTile(top, left, min(rows, height - top), min(columns, width - left))
