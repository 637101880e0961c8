"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024), as Cool-Chic 5.0.1 has it."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

MAX_PRECONDITIONED = 256
"""Longer dimensions have no preconditioner."""

EPS = 1e-8


class Soap(Optimizer):
    """Adam's moments in a basis that follows the gradients' covariances, one for each dimension of a tensor.

    The first gradient only initializes. Tensors of one dimension, and groups without ``frequency``, have Adam's
    steps.

    Args:
        groups: parameters with ``lr``, ``betas``, ``weight_decay`` (decoupled) and ``frequency``: steps from one
            change of the bases to the next, ``None`` for no preconditioner.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 0.0, "betas": (0.95, 0.95), "weight_decay": 0.0, "frequency": None})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change every parameter that has a gradient; there is no closure."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if state:
                    _change(parameter, parameter.grad, state, group)
                else:
                    state.update(_initial_state(parameter.grad, group))


def _initial_state(gradient: Tensor, group: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = {
        "step": 0,
        "mean": torch.zeros_like(gradient),  # in the basis, as the variance is
        "variance": torch.zeros_like(gradient),
    }
    if group["frequency"] is not None and gradient.ndim > 1:
        # A dimension of one entry has nothing to rotate.
        dims = [d for d, size in enumerate(gradient.shape) if 1 < size <= MAX_PRECONDITIONED]
        decay = group["betas"][1]
        state["dims"] = dims
        state["covariances"] = [(1 - decay) * _covariance(gradient, dim) for dim in dims]
        state["bases"] = [torch.linalg.eigh(matrix).eigenvectors.flip(1) for matrix in state["covariances"]]
    return state


def _change(parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    """One step of one parameter."""
    state["step"] += 1
    step, (decay_mean, decay_variance) = state["step"], group["betas"]
    mean, variance = state["mean"], state["variance"]
    dims, bases = state.get("dims", ()), state.get("bases", ())
    rotated = _rotate(gradient, dims, bases)
    mean.lerp_(rotated, 1 - decay_mean)
    variance.mul_(decay_variance).addcmul_(rotated, rotated, value=1 - decay_variance)
    scale = math.sqrt(1 - decay_variance**step) / (1 - decay_mean**step)
    change = _rotate(mean / (variance.sqrt() + EPS), dims, [basis.t() for basis in bases])
    parameter.sub_(change, alpha=group["lr"] * scale)
    if group["weight_decay"]:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
    if dims:
        for dim, covariance in zip(dims, state["covariances"], strict=True):
            covariance.lerp_(_covariance(gradient, dim), 1 - decay_variance)
        if step % group["frequency"] == 0:
            _turn(state)


def _turn(state: dict[str, Any]) -> None:
    """Bring the bases nearer to the eigenvectors: one step of orthogonal iteration, the largest eigenvalue first."""
    dims, bases, variance = state["dims"], state["bases"], state["variance"]
    mean = _rotate(state["mean"], dims, [basis.t() for basis in bases])
    turned = []
    for dim, covariance, basis in zip(dims, state["covariances"], bases, strict=True):
        product = covariance @ basis
        order = (basis * product).sum(0).argsort(descending=True, stable=True)
        variance = variance.index_select(dim, order)
        turned.append(torch.linalg.qr(product[:, order]).Q)
    state["bases"], state["variance"] = turned, variance
    state["mean"] = _rotate(mean, dims, turned)


def _covariance(gradient: Tensor, dim: int) -> Tensor:
    """``g gᵀ``, contracted over all other dimensions: ``[n, n]``."""
    flat = gradient.transpose(0, dim).reshape(gradient.shape[dim], -1)
    return flat @ flat.t()


def _rotate(tensor: Tensor, dims: Iterable[int], bases: Iterable[Tensor]) -> Tensor:
    """Coordinates along some dimensions in other bases, their vectors the columns."""
    for dim, basis in zip(dims, bases, strict=True):
        tensor = (tensor.transpose(dim, -1) @ basis).transpose(dim, -1)
    return tensor.contiguous()
