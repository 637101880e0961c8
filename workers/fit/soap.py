"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024), as Cool-Chic 5.0.1 has it."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
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
    steps. Parameters that have no gradient then are left alone for good.

    The tensors of a group are one vector. Covariances are added up where bases change, of all gradients since the
    last time: nothing depends on them before.

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
            if "step" in group:
                parameters = [group["params"][i] for i in group["used"]]
                _change(parameters, _flat(parameters), group)
            else:
                group["used"] = [i for i, p in enumerate(group["params"]) if p.grad is not None]
                parameters = [group["params"][i] for i in group["used"]]
                group.update(_initial_state(parameters, group))


def _flat(parameters: Sequence[Tensor]) -> Tensor:
    """The gradients as one vector."""
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


def _initial_state(parameters: Sequence[Tensor], group: dict[str, Any]) -> dict[str, Any]:
    gradient = _flat(parameters)
    state: dict[str, Any] = {
        "step": 0,
        "mean": torch.zeros_like(gradient),  # in the basis, as the variance is
        "variance": torch.zeros_like(gradient),
        "tensors": [],
    }
    if group["frequency"] is None:
        return state
    state["pending"] = gradient.new_empty(group["frequency"], len(gradient))
    decay = group["betas"][1]
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        # A dimension of one entry has nothing to rotate.
        shape = [size for size in parameter.shape if size > 1]
        if parameter.ndim > 1 and any(size <= MAX_PRECONDITIONED for size in shape):
            covariances = [
                (1 - decay) * _covariance(gradient[None, start:end].view(1, *shape), dim)
                if size <= MAX_PRECONDITIONED
                else None
                for dim, size in enumerate(shape)
            ]
            bases = [
                torch.eye(size).to(gradient) if matrix is None else torch.linalg.eigh(matrix).eigenvectors.flip(1)
                for size, matrix in zip(shape, covariances, strict=True)
            ]
            state["tensors"].append(
                {"place": (start, end), "shape": shape, "covariances": covariances, "bases": bases}
                | _factors(bases)
            )
        start = end
    return state


def _factors(bases: Sequence[Tensor]) -> dict[str, Tensor]:
    """What rotates a tensor as a matrix, its first dimensions the rows: one product on either side."""
    n_rows = max(1, len(bases) // 2)
    one = bases[0].new_ones(1, 1)
    return {"rows": reduce(torch.kron, bases[:n_rows], one), "columns": reduce(torch.kron, bases[n_rows:], one)}


def _change(parameters: Sequence[Tensor], gradient: Tensor, group: dict[str, Any]) -> None:
    """One step of the parameters of a group."""
    group["step"] += 1
    step, (decay_mean, decay_variance) = group["step"], group["betas"]
    mean, variance = group["mean"], group["variance"]
    if group["tensors"]:
        group["pending"][(step - 1) % group["frequency"]] = gradient
        _rotate(gradient, group["tensors"])
    mean.lerp_(gradient, 1 - decay_mean)
    variance.mul_(decay_variance).addcmul_(gradient, gradient, value=1 - decay_variance)
    change = mean / variance.sqrt().add_(EPS)
    _rotate(change, group["tensors"], back=True)
    scale = group["lr"] * math.sqrt(1 - decay_variance**step) / (1 - decay_mean**step)
    kept = 1 - group["lr"] * group["weight_decay"]
    for parameter, part in zip(parameters, change.split([p.numel() for p in parameters]), strict=True):
        parameter.sub_(part.view_as(parameter), alpha=scale)
        if kept != 1:
            parameter.mul_(kept)
    if group["tensors"] and step % group["frequency"] == 0:
        _turn(group)


def _turn(group: dict[str, Any]) -> None:
    """Bring the bases nearer to the eigenvectors, the largest first, by one step of orthogonal iteration."""
    decay, n = group["betas"][1], group["frequency"]
    weights = group["pending"].new_tensor([math.sqrt((1 - decay) * decay**age) for age in reversed(range(n))])
    pending = group["pending"] * weights[:, None]
    _rotate(group["mean"], group["tensors"], back=True)
    for tensor in group["tensors"]:
        start, end = tensor["place"]
        variance = group["variance"][start:end].view(tensor["shape"])
        gradients = pending[:, start:end].view(n, *tensor["shape"])
        for dim, covariance in enumerate(tensor["covariances"]):
            if covariance is None:
                continue
            covariance.mul_(decay**n).add_(_covariance(gradients, dim))
            basis = tensor["bases"][dim]
            product = covariance @ basis
            order = (basis * product).sum(0).argsort(descending=True, stable=True)
            variance = variance.index_select(dim, order)
            tensor["bases"][dim] = torch.linalg.qr(product[:, order]).Q
        group["variance"][start:end] = variance.flatten()
        tensor.update(_factors(tensor["bases"]))
    _rotate(group["mean"], group["tensors"])


def _covariance(gradients: Tensor, dim: int) -> Tensor:
    """``Σ g gᵀ`` of gradients ``[n, …]``, contracted over all dimensions but one: ``[size, size]``."""
    flat = gradients.movedim(dim + 1, 0).flatten(1)
    return flat @ flat.t()


def _rotate(vector: Tensor, tensors: Sequence[dict[str, Any]], *, back: bool = False) -> None:
    """Coordinates of all tensors in their bases, in place; or back to where they come from."""
    for tensor in tensors:
        start, end = tensor["place"]
        rows, columns = tensor["rows"], tensor["columns"]
        part = vector[start:end].view(len(rows), len(columns))
        part.copy_(rows @ part @ columns.t() if back else rows.t() @ part @ columns)
