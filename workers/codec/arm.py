"""Auto-regressive module: a small MLP that gives each latent's Laplace distribution from its context."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_RATE_BIT = 16
"""No latent costs more than this."""

GREATEST_LOG_SCALE = 5.0
"""Of the Laplace distribution of a latent; larger ones are clamped."""


class ArmLinear(nn.Linear):
    """Linear layer ``[N, in] → [N, out]``, plus its own input if it is residual."""

    def __init__(self, in_features: int, out_features: int, residual: bool) -> None:
        self.residual = residual
        super().__init__(in_features, out_features)

    def reset_parameters(self) -> None:
        """Biases 0; weights 0 if residual, else drawn from N(0, 1) / out²."""
        with torch.no_grad():
            self.bias.zero_()
            if self.residual:
                self.weight.zero_()
            else:
                self.weight.normal_().div_(self.out_features**2)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = F.linear(x, self.weight, self.bias)
        return y + x if self.residual else y


class Arm(nn.Module):
    """Expectation and log-scale of each latent's Laplace distribution, from its causal neighbours.

    Hidden layers are ``h ← relu(W h + b + h)``, of the same width ``C`` as the context; the output layer is
    linear with two outputs.

    Args:
        dim_arm: numbers in a context, ``C``.
        n_hidden_layers_arm: hidden layers.
        stabiliser: whether a linear layer of the context is added to the output.
        least_log_scale: smaller ones are clamped.
    """

    def __init__(
        self,
        dim_arm: int,
        n_hidden_layers_arm: int,
        *,
        stabiliser: bool = False,
        least_log_scale: float = -4.6,
    ) -> None:
        super().__init__()
        self.dim_arm = dim_arm
        self._least_log_scale = least_log_scale
        layers: list[nn.Module] = []
        for _ in range(n_hidden_layers_arm):
            layers += [ArmLinear(dim_arm, dim_arm, residual=True), nn.ReLU()]
        layers.append(ArmLinear(dim_arm, 2, residual=False))
        self.mlp = nn.Sequential(*layers)
        self.stabiliser_branch = ArmLinear(dim_arm, 2, residual=False) if stabiliser else None

    @property
    def linears(self) -> list[ArmLinear]:
        """The layers with parameters, first to last."""
        return cast(list[ArmLinear], list(self.mlp)[::2])

    def forward(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Distribution of ``N`` latents.

        Args:
            context: ``[N, C]``.

        Returns:
            Expectation ``μ`` and scale ``β``, ``[N]`` each.
        """
        raw = self.mlp(context)  # [N, 2]
        if self.stabiliser_branch is not None:
            raw = raw + self.stabiliser_branch(context)
        return raw[:, 0], laplace_scale(raw[:, 1], self._least_log_scale)


def laplace_scale(log_scale: Tensor, least: float = -4.6) -> Tensor:
    """Scale ``β = exp(clamp(s − 4, least, 5.0))`` of the arm's second output."""
    return torch.exp(torch.clamp(log_scale - 4, min=least, max=GREATEST_LOG_SCALE))


def laplace_cdf(x: Tensor, mu: Tensor, scale: Tensor) -> Tensor:
    """Cumulative distribution ``½ − ½ sign(x−μ) · expm1(−|x−μ| / β)``; all of one shape."""
    shifted = x - mu
    return 0.5 - 0.5 * shifted.sign() * torch.expm1(-shifted.abs() / scale)


def rate_bit(latent: Tensor, mu: Tensor, scale: Tensor) -> Tensor:
    """Bits of each latent: ``−log2 max(F(y+½) − F(y−½), 2^−16)``; all of one shape."""
    probability = laplace_cdf(latent + 0.5, mu, scale) - laplace_cdf(latent - 0.5, mu, scale)
    return -torch.log2(probability.clamp_min(2.0**-MAX_RATE_BIT))
