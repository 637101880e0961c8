"""Optimizers of a recipe, built for the parameters of a frame encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Adam as TorchAdam
from torch.optim.optimizer import Optimizer

from workers.fit.recipe import Adam, OptimizerRule, Soap
from workers.fit.soap import Soap as SoapOptimizer


def make_optimizer(rule: OptimizerRule, parts: Mapping[str, Sequence[Tensor]]) -> Optimizer:
    """The optimizer that a rule describes; its learning rates are still to be set.

    Args:
        rule: of a phase.
        parts: what is trained, by the names of :data:`~workers.fit.recipe.TRAINABLE`; parts without parameters are
            left out.
    """
    if isinstance(rule, Adam):
        trained = [parameter for part in parts.values() for parameter in part]
        return TorchAdam(trained, betas=rule.betas, fused=True)
    assert isinstance(rule, Soap)
    options: dict[str, dict[str, Any]] = {
        "latents": {"betas": rule.latent_betas},
        "networks": {
            "betas": rule.network_betas,
            "weight_decay": rule.weight_decay,
            "frequency": rule.frequency,
        },
    }
    return SoapOptimizer([{"params": list(parameters), **options[part]} for part, parameters in parts.items()])
