"""Candidates of the arm, or of the IFCE before it, as layers that share their weights, grid by grid.

The features of the IFCE, ``f = W x + b``, enter the arm by its first layer and by its stabiliser. So candidates of
the IFCE that share ``W`` are candidates of an arm: ``W x`` is an input that they share, and ``b`` becomes a part of
the biases behind it, another one for every grid.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from workers.codec import CoolChicParameter
from workers.measure.cost import Parameters, stack
from workers.measure.kernel import ArmLayers


def layers_of_arm(
    param: CoolChicParameter, candidates: Sequence[Parameters], ifce: Parameters | None
) -> list[ArmLayers]:
    """Layers of candidates of the arm, for each grid.

    Args:
        param: of the cool-chic.
        candidates: parameters of the arm, with the same weights.
        ifce: parameters of the IFCE, if there is one.
    """
    layers = _layers(param, candidates)
    of_grids = {} if ifce is None else dict(_ifce_of_grids(param, ifce))
    return [
        layers if i not in of_grids else layers._replace(feature_weight=of_grids[i][0], feature_bias=of_grids[i][1])
        for i in range(len(param.grids))
    ]


def layers_of_ifce(param: CoolChicParameter, candidates: Sequence[Parameters], arm: Parameters) -> list[ArmLayers]:
    """Layers of candidates of the IFCE, for each grid.

    Args:
        param: of the cool-chic.
        candidates: parameters of the IFCE, with the same weights.
        arm: parameters of the arm.
    """
    n = len(candidates)
    plain = _layers(param, [arm] * n)
    result = [plain] * len(param.grids)
    for i, (weight, _) in _ifce_of_grids(param, candidates[0]):
        bias = torch.stack([dict(_ifce_of_grids(param, candidate))[i][1] for candidate in candidates])  # [n, F]
        result[i] = _with_features_bias(plain, bias)._replace(
            feature_weight=weight, feature_bias=torch.zeros_like(bias[0])
        )
    return result


def _layers(param: CoolChicParameter, candidates: Sequence[Parameters]) -> ArmLayers:
    names = [f"mlp.{2 * j}" for j in range(param.n_hidden_layers_arm + 1)]
    layers = ArmLayers(
        [candidates[0][f"{name}.weight"] for name in names], [stack(candidates, f"{name}.bias") for name in names]
    )
    if not param.linear_stabiliser_arm:
        return layers
    return layers._replace(
        stabiliser_weight=candidates[0]["stabiliser_branch.weight"],
        stabiliser_bias=stack(candidates, "stabiliser_branch.bias"),
    )


def _ifce_of_grids(param: CoolChicParameter, ifce: Parameters) -> list[tuple[int, tuple[Tensor, Tensor]]]:
    """Weight and bias of the grids that have an IFCE."""
    return [
        (i, (ifce[f"arms.{j}.mlp.0.weight"], ifce[f"arms.{j}.mlp.0.bias"])) for j, i in enumerate(param.ifce_grids)
    ]


def _with_features_bias(layers: ArmLayers, bias: Tensor) -> ArmLayers:
    """The same layers, with features to which ``bias`` ``[n_candidates, F]`` has yet to be added."""
    n_features = bias.shape[1]

    def through(weight: Tensor) -> Tensor:
        return bias.double() @ weight[:, -n_features:].double().t()

    first = layers.biases[0].double() + through(layers.weights[0])
    if len(layers.weights) > 1:  # a hidden layer also adds its input
        first[:, -n_features:] += bias
    folded = layers._replace(biases=[first.float(), *layers.biases[1:]])
    if layers.stabiliser_weight is not None and layers.stabiliser_bias is not None:
        stable = layers.stabiliser_bias.double() + through(layers.stabiliser_weight)
        folded = folded._replace(stabiliser_bias=stable.float())
    return folded
