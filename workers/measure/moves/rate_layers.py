"""The networks that give the bits of the latents, as numbered linear layers."""

from typing import NamedTuple

from torch import Tensor

from workers.codec.coolchic import CoolChic
from workers.measure.moves.parameters import Doubles, Layer


class RateLayers(NamedTuple):
    """Layers of the auto-regressive module and of what gives part of its contexts.

    Attributes:
        module: hidden layers and the output layer.
        stabiliser: linear layer that is added to the output, if there is one.
        features: of each grid that has features.
    """

    module: tuple[Layer, ...]
    stabiliser: Layer | None
    features: tuple[Layer, ...]

    @classmethod
    def of(cls, coolchic: CoolChic) -> "RateLayers":
        """Layers of a cool-chic."""
        arm = coolchic.arm
        n = len(arm.linears)
        module = tuple(Layer(j, f"mlp.{2 * j}.weight", f"mlp.{2 * j}.bias") for j in range(n))
        branch = "stabiliser_branch"
        stabiliser = None if arm.stabiliser_branch is None else Layer(n, f"{branch}.weight", f"{branch}.bias")
        n_features = 0 if coolchic.ifce is None else len(coolchic.ifce.arms)
        features = tuple(
            Layer(n + 1 + j, f"arms.{j}.mlp.0.weight", f"arms.{j}.mlp.0.bias") for j in range(n_features)
        )
        return cls(module, stabiliser, features)


class RateParameters(NamedTuple):
    """Their parameters, by the names in each network.

    Attributes:
        module: of the auto-regressive module.
        features: of what gives features; empty where nothing does.
    """

    module: Doubles
    features: Doubles


def weight_and_bias(parameters: Doubles, layer: Layer) -> tuple[Tensor, Tensor]:
    """Tensors of a layer."""
    return parameters[layer.weight], parameters[layer.bias]
