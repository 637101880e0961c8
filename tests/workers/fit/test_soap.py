"""SOAP beside a plain restatement of it."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from workers.fit.soap import EPS, MAX_PRECONDITIONED, Soap

LR, BETAS, DECAY = 1e-2, (0.95, 0.9), 0.01
SHAPES = [(5, 5), (4, 4, 1, 1), (3, 4, 3, 3), (5,), (MAX_PRECONDITIONED + 1, 3)]


def rotate(x: Tensor, bases: Sequence[Tensor | None]) -> Tensor:
    for basis in bases:  # each takes the first dimension, and puts it last
        x = x.movedim(0, -1) if basis is None else torch.tensordot(x, basis, dims=([0], [0]))
    return x


def back(x: Tensor, bases: Sequence[Tensor | None]) -> Tensor:
    return rotate(x, [None if basis is None else basis.t() for basis in bases])


def covariance(g: Tensor, dim: int) -> Tensor:
    others = [d for d in range(g.ndim) if d != dim]
    return torch.tensordot(g, g, dims=(others, others))


class Plain:
    """One parameter, step by step as the method is described."""

    def __init__(self, parameter: Tensor, frequency: int | None) -> None:
        self.parameter, self.frequency, self.t = parameter, frequency, 0
        self.covariances: list[Tensor | None] = []

    def step(self, g: Tensor) -> None:
        if self.t == 0 and not hasattr(self, "m"):
            self.m, self.v = torch.zeros_like(g), torch.zeros_like(g)
            if g.ndim > 1 and self.frequency is not None:
                few = [g.shape[d] <= MAX_PRECONDITIONED for d in range(g.ndim)]
                self.covariances = [(1 - BETAS[1]) * covariance(g, d) if few[d] else None for d in range(g.ndim)]
            self.bases = [
                None if matrix is None else torch.linalg.eigh(matrix).eigenvectors.flip(1)
                for matrix in self.covariances
            ]
            return
        self.t += 1
        rotated = rotate(g, self.bases)
        self.m = BETAS[0] * self.m + (1 - BETAS[0]) * rotated
        self.v = BETAS[1] * self.v + (1 - BETAS[1]) * rotated**2
        scale = (1 - BETAS[1] ** self.t) ** 0.5 / (1 - BETAS[0] ** self.t)
        self.parameter -= LR * scale * back(self.m / (self.v.sqrt() + EPS), self.bases)
        self.parameter -= LR * DECAY * self.parameter
        self.m = back(self.m, self.bases)
        for d, matrix in enumerate(self.covariances):
            if matrix is not None:
                self.covariances[d] = BETAS[1] * matrix + (1 - BETAS[1]) * covariance(g, d)
        if self.frequency is not None and self.t % self.frequency == 0:
            for d, (matrix, basis) in enumerate(zip(self.covariances, self.bases, strict=True)):
                if matrix is not None and basis is not None:
                    order = torch.diag(basis.t() @ matrix @ basis).argsort(descending=True)
                    self.v = self.v.index_select(d, order)
                    self.bases[d] = torch.linalg.qr(matrix @ basis[:, order]).Q
        self.m = rotate(self.m, self.bases)


@pytest.mark.parametrize("frequency", [1, 4, None])
def test_steps_are_those_of_the_plain_method(frequency: int | None) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    # Bases of the null space of a covariance are arbitrary: shapes whose first gradients fill every dimension.
    start = [draw(shape) for shape in SHAPES]
    plain = [Plain(p.clone(), frequency) for p in start]
    ours = [nn.Parameter(p.clone()) for p in start]
    group = {"params": ours, "lr": LR, "betas": BETAS, "weight_decay": DECAY, "frequency": frequency}
    optimizer = Soap([group])
    for iteration in range(14):
        for of_plain, parameter in zip(plain, ours, strict=True):
            gradient = draw(tuple(parameter.shape))
            parameter.grad = gradient.clone()
            of_plain.step(gradient)
        optimizer.step()
        if iteration == 0:
            assert all(map(torch.equal, ours, start)), "the first gradient moves nothing"
    for of_plain, parameter in zip(plain, ours, strict=True):
        assert torch.allclose(parameter, of_plain.parameter, rtol=1e-9, atol=1e-12), tuple(parameter.shape)


def test_a_state_that_is_loaded_resumes_where_it_was_saved() -> None:
    gradients = torch.randn(9, 6, 5, generator=torch.Generator().manual_seed(1))

    def steps(optimizer: Soap, parameter: nn.Parameter, which: Tensor) -> None:
        for gradient in which:
            parameter.grad = gradient.clone()
            optimizer.step()

    def new(value: Tensor) -> tuple[Soap, nn.Parameter]:
        parameter = nn.Parameter(value.clone())
        return Soap([{"params": [parameter], "lr": LR, "frequency": 3}]), parameter

    optimizer, parameter = new(torch.zeros(6, 5))
    steps(optimizer, parameter, gradients[:4])
    other, copy = new(parameter.detach())
    other.load_state_dict(optimizer.state_dict())
    steps(optimizer, parameter, gradients[4:])
    steps(other, copy, gradients[4:])
    assert torch.equal(parameter, copy)


def test_parameters_without_a_gradient_stay() -> None:
    used, unused = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    optimizer = Soap([{"params": [unused, used], "lr": LR, "frequency": 1, "weight_decay": DECAY}])
    for _ in range(3):
        used.grad = torch.eye(2)
        optimizer.step()
    assert torch.equal(unused, torch.ones(2, 2))
    assert not torch.equal(used, torch.ones(2, 2))
