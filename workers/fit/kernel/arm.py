"""The bits of the latents by the arm, and their gradients, in the compiled kernel."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from workers.codec.arm import Arm
from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.latent import PAD, context_offsets
from workers.fit.kernel.library import long, pointer

_DIMS = (8, 12, 14, 16, 20, 24, 26, 32, 40)
"""Widths that the kernel has; others are filled up with zeros."""

_SLACK = 64
"""Numbers behind a padded grid that the kernel may touch."""


class _Arm(ctypes.Structure):
    _fields_ = (
        *((name, long) for name in ("dim", "n_neighbours", "n_features", "n_hidden")),
        *((name, pointer) for name in ("offsets", "weights", "biases")),
        ("stabilised", long),
        ("least_log_scale", ctypes.c_float),
    )


class _Grid(ctypes.Structure):
    _fields_ = (
        ("padded", pointer),
        ("features", pointer),
        *((name, long) for name in ("height", "width", "stride", "origin")),
    )


class _Gradients(ctypes.Structure):
    _fields_ = tuple((name, pointer) for name in ("padded", "features", "weights", "biases"))


def supports_arm(param: CoolChicParameter) -> bool:
    """Whether the kernel has arms of these sizes."""
    return param.dim_arm <= _DIMS[-1]


class CompiledArm:
    """Bits of all latents together.

    Args:
        library: the kernel.
        arm: its parameters are read at every call.
        param: of the cool-chic; see :func:`supports_arm`.
    """

    def __init__(self, library: ctypes.CDLL, arm: Arm, param: CoolChicParameter) -> None:
        self.library = library
        self.grid_sizes = param.grid_sizes
        self.n_features = param.output_feature_ifce
        self.n_hidden = param.n_hidden_layers_arm
        self.context = param.dim_arm
        self.dim = next(dim for dim in _DIMS if dim >= self.context)
        self.offsets = context_offsets(param.context_indices)
        self.least_log_scale = param.family.least_log_scale
        self.stabilised = param.linear_stabiliser_arm
        self.lanes: int = library.qsweep_train_lanes()
        layers = [*arm.linears, *([] if arm.stabiliser_branch is None else [arm.stabiliser_branch])]
        self._weights = [layer.weight for layer in layers]
        self._biases = [layer.bias for layer in layers]

    def __call__(self, latent: Tensor, features: Mapping[int, Tensor]) -> Tensor:
        """Bits of all latents, 0-d.

        Args:
            latent: decoder-side latents ``[N]``, float32.
            features: inter-feature contexts ``[F, H_i, W_i]`` by index of the grid.
        """
        inputs = (*features.values(), *self._weights, *self._biases)
        return cast(Tensor, _Rate.apply(latent, self, tuple(features), *inputs))  # type: ignore[no-untyped-call]

    def places(self) -> list[tuple[slice, tuple[int, int], tuple[int, int]]]:
        """Where each layer's weights are in the kernel's buffer, their shape there, and the part that is used."""
        found: list[tuple[slice, tuple[int, int], tuple[int, int]]] = []
        start = 0
        for weight in self._weights:
            shape = (self.dim if len(found) < self.n_hidden else 2, self.dim)
            size = shape[0] * shape[1]
            found.append((slice(start, start + size), shape, (weight.shape[0], weight.shape[1])))
            start += size
        return found

    def measure(
        self, latent: Tensor, features: Mapping[int, Tensor]
    ) -> tuple[float, Tensor, list[Tensor], list[Tensor]]:
        """Bits, and their gradients by latents, features, and parameters: all weights, then all biases."""
        weights, biases = self._packed()
        by_weights, by_biases = (torch.zeros(len(flat), self.lanes) for flat in (weights, biases))
        by_latent = torch.empty_like(latent)
        by_features = [torch.empty_like(plane) for plane in features.values()]
        of_grid = dict(zip(features, zip(features.values(), by_features, strict=True), strict=True))
        total = 0.0
        start = 0
        for i, (height, width) in enumerate(self.grid_sizes):
            end = start + height * width
            plane, by_plane = of_grid.get(i, (None, None))
            padded, gradient = torch.zeros(2, (height + PAD) * (width + 2 * PAD) + _SLACK)
            inside, by_inside = (_interior(flat, height, width) for flat in (padded, gradient))
            inside.copy_(latent[start:end].view(height, width))
            stride = width + 2 * PAD
            offsets = (long * len(self.offsets))(*(dy * stride + dx for dy, dx in self.offsets))
            arm = _Arm(
                *(self.dim, len(self.offsets), self.n_features, self.n_hidden),
                *(ctypes.addressof(offsets), weights.data_ptr(), biases.data_ptr()),
                *(self.stabilised, self.least_log_scale),
            )
            grid = _Grid(padded.data_ptr(), _address(plane), height, width, stride, PAD * stride + PAD)
            gradients = _Gradients(
                gradient.data_ptr(), _address(by_plane), by_weights.data_ptr(), by_biases.data_ptr()
            )
            total += self.library.qsweep_train_arm(ctypes.byref(arm), ctypes.byref(grid), ctypes.byref(gradients))
            by_latent[start:end].view(height, width).copy_(by_inside)
            start = end
        return total, by_latent, by_features, self._unpacked(by_weights.sum(1), by_biases.sum(1))

    def _packed(self) -> tuple[Tensor, Tensor]:
        """Weights, residual connections folded in, and biases, filled up with zeros."""
        places = self.places()
        weights = torch.zeros(places[-1][0].stop)
        biases = torch.zeros(sum(shape[0] for _, shape, _ in places))
        start = 0
        for layer, (place, shape, (rows, columns)) in enumerate(places):
            part = weights[place].view(shape)[:rows, :columns]
            part.copy_(self._weights[layer].detach())
            if layer < self.n_hidden:
                part.diagonal().add_(1)
            biases[start : start + rows] = self._biases[layer].detach()
            start += shape[0]
        return weights, biases

    def _unpacked(self, weights: Tensor, biases: Tensor) -> list[Tensor]:
        """Gradients of the parameters, in the order of the layers, weights first."""
        of_weights, of_biases = [], []
        start = 0
        for place, shape, (rows, columns) in self.places():
            of_weights.append(weights[place].view(shape)[:rows, :columns])
            of_biases.append(biases[start : start + rows])
            start += shape[0]
        return [*of_weights, *of_biases]


def _interior(flat: Tensor, height: int, width: int) -> Tensor:
    """The latents ``[H, W]`` of a padded grid."""
    rows = flat[: (height + PAD) * (width + 2 * PAD)].view(height + PAD, width + 2 * PAD)
    return rows[PAD:, PAD : PAD + width]


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class _Rate(torch.autograd.Function):
    """The gradients are made with the bits, and scaled on the way back."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor, arm: CompiledArm, grids: Sequence[int], *inputs: Tensor) -> Tensor:
        features = {i: plane.contiguous() for i, plane in zip(grids, inputs, strict=False)}
        total, by_latent, by_features, by_parameters = arm.measure(latent.contiguous(), features)
        ctx.save_for_backward(by_latent, *by_features, *by_parameters)
        return torch.tensor(total, dtype=latent.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        by_latent, *others = ctx.saved_tensors
        return (by_latent * grad, None, None, *(gradient * grad for gradient in others))
