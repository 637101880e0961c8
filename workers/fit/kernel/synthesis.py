"""The convolutions of the synthesis and their gradients, in the compiled kernel."""

import ctypes
from typing import Any, cast

import torch
from torch import Tensor, nn

from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.synthesis import Synthesis, SynthesisConv2d
from workers.fit.kernel.library import long, pointer

_MAX_CHANNELS = 64
_MAX_POINTWISE = 8

_SLACK = 64
"""Numbers behind padded planes that the kernel may touch."""


class _Layer(ctypes.Structure):
    _fields_ = tuple((name, long) for name in ("n_in", "n_out", "size", "residual", "relu"))


class _Stack(ctypes.Structure):
    _fields_ = (("n_layers", long), *((name, pointer) for name in ("layers", "weights", "biases")))


class _Convolution(ctypes.Structure):
    _fields_ = (("shape", _Layer), ("height", long), ("width", long), ("weights", pointer), ("bias", pointer))


def supports_synthesis(param: CoolChicParameter) -> bool:
    """Whether the kernel has convolutions of these sizes."""
    widths = [param.n_inputs_synthesis, *(layer.out_channels for layer in param.layers_synthesis)]
    return max(widths) <= _MAX_CHANNELS


class CompiledSynthesis:
    """The layers of a synthesis, without what some families add to them.

    Args:
        library: the kernel.
        synthesis: its parameters are read at every call; see :func:`supports_synthesis`.
    """

    def __init__(self, library: ctypes.CDLL, synthesis: Synthesis) -> None:
        self.library = library
        self.lanes: int = library.qsweep_train_lanes()
        layers = synthesis.convolutions
        n_pointwise = next((i for i, (layer, _) in enumerate(layers) if layer.weight.shape[-1] > 1), len(layers))
        n_pointwise = min(n_pointwise, _MAX_POINTWISE)
        self._pointwise, self._others = layers[:n_pointwise], layers[n_pointwise:]
        self._shapes = (_Layer * n_pointwise)(*(_shape(*layer) for layer in self._pointwise))

    def __call__(self, dense: Tensor) -> Tensor:
        """``[C, H, W]`` to ``[out, H, W]``, float32."""
        x = dense
        if self._pointwise:
            parameters = [p for layer, _ in self._pointwise for p in (layer.weight, layer.bias)]
            x = cast(Tensor, _Pointwise.apply(x, self, *parameters))  # type: ignore[no-untyped-call]
        for layer, activation in self._others:
            shape = _shape(layer, activation)
            x = cast(Tensor, _Convolve.apply(x, self, shape, layer.weight, layer.bias))  # type: ignore[no-untyped-call]
        return x

    def stack(self, weights: Tensor, biases: Tensor) -> _Stack:
        """The pointwise layers, with parameters one after the other."""
        return _Stack(len(self._shapes), ctypes.addressof(self._shapes), weights.data_ptr(), biases.data_ptr())


def _shape(layer: SynthesisConv2d, activation: nn.Module) -> _Layer:
    n_out, n_in, size, _ = layer.weight.shape
    return _Layer(n_in, n_out, size, layer.residual, isinstance(activation, nn.ReLU))


class _Pointwise(torch.autograd.Function):
    """All pointwise layers that come first."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, synthesis: CompiledSynthesis, *parameters: Tensor) -> Tensor:
        dense = dense.contiguous()
        weights, biases = (torch.cat([p.flatten() for p in parameters[kind::2]]) for kind in (0, 1))
        out = dense.new_empty(len(parameters[-1]), *dense.shape[1:])
        stack = synthesis.stack(weights, biases)
        synthesis.library.qsweep_train_pointwise(
            ctypes.byref(stack), dense.data_ptr(), dense[0].numel(), out.data_ptr()
        )
        ctx.save_for_backward(dense, weights, biases)
        ctx.synthesis, ctx.shapes = synthesis, [p.shape for p in parameters]
        return out

    @staticmethod
    def backward(ctx: Any, by_out: Tensor) -> tuple[Tensor | None, ...]:
        dense, weights, biases = ctx.saved_tensors
        synthesis: CompiledSynthesis = ctx.synthesis
        by_out = by_out.contiguous()
        by_dense = torch.empty_like(dense)
        partial = [torch.zeros(len(flat), synthesis.lanes) for flat in (weights, biases)]
        stack = synthesis.stack(weights, biases)
        synthesis.library.qsweep_train_pointwise_backward(
            *(ctypes.byref(stack), dense.data_ptr(), dense[0].numel()),
            *(tensor.data_ptr() for tensor in (by_out, by_dense, *partial)),
        )
        gradients: list[Tensor | None] = [None] * len(ctx.shapes)
        for kind, sums in enumerate(partial):
            shapes = ctx.shapes[kind::2]
            parts = torch.split(sums.sum(1), [shape.numel() for shape in shapes])
            gradients[kind::2] = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        return (by_dense, None, *gradients)


class _Convolve(torch.autograd.Function):
    """One convolution with replicate padding."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, synthesis: CompiledSynthesis, shape: _Layer, weight: Tensor, bias: Tensor
    ) -> Tensor:
        x, weight, bias = x.contiguous(), weight.detach().contiguous(), bias.detach().contiguous()
        n_in, height, width = x.shape
        margin = weight.shape[-1] // 2 * 2
        padded = x.new_empty(n_in * (height + margin) * (width + margin) + _SLACK)
        out = x.new_empty(len(weight), height, width)
        layer = _Convolution(shape, height, width, weight.data_ptr(), bias.data_ptr())
        synthesis.library.qsweep_train_convolution(
            ctypes.byref(layer), *(tensor.data_ptr() for tensor in (x, padded, out))
        )
        ctx.save_for_backward(padded, out, weight, bias)
        ctx.synthesis, ctx.shape = synthesis, shape
        return out

    @staticmethod
    def backward(ctx: Any, by_out: Tensor) -> tuple[Tensor | None, ...]:
        padded, out, weight, bias = ctx.saved_tensors
        _, height, width = out.shape
        by_out = by_out.contiguous()
        by_x = out.new_empty(weight.shape[1], height, width)
        by_weight, by_bias = (torch.zeros(tensor.numel(), ctx.synthesis.lanes) for tensor in (weight, bias))
        workspace = torch.empty_like(padded)
        layer = _Convolution(ctx.shape, height, width, weight.data_ptr(), bias.data_ptr())
        ctx.synthesis.library.qsweep_train_convolution_backward(
            ctypes.byref(layer),
            *(tensor.data_ptr() for tensor in (padded, out, by_out, workspace, by_x, by_weight, by_bias)),
        )
        return by_x, None, None, by_weight.sum(1).view(weight.shape), by_bias.sum(1)
