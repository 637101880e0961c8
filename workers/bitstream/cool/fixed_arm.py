"""Arm and IFCE in whole numbers: the matrices that a decoder works with, and bounds of all sums."""

from typing import NamedTuple

import numpy as np

from workers.bitstream.cool.coolchic_header import Codings
from workers.bitstream.cool.order import ARM, IFCE
from workers.bitstream.cool.parameters import Parameters
from workers.bitstream.exp_golomb import Integers
from workers.codec.coolchic_parameter import CoolChicParameter

LATENT_RANGE = range(-64, 64)
"""Values of a latent."""

FRACTION_BITS = 16
"""Activations are multiples of 2^−16; weights too, but those of features."""

FEATURE_BITS = 8
"""Features are multiples of 2^−8; weights that they are multiplied with, too."""

OUTPUT_SHIFT = 2 * FRACTION_BITS - FEATURE_BITS
"""Outputs of arm and IFCE are multiples of 2^−8."""

_SCALE_OFFSET = 4
_LARGEST = 1 << 63
_EXACT_IN_DOUBLES = 1 << 53


class FixedLayer(NamedTuple):
    """A linear layer.

    Attributes:
        weight: ``[out, in]``, residual connection included.
        bias: ``[out]``.
    """

    weight: Integers
    bias: Integers


class FixedArm(NamedTuple):
    """The arm of a cool-chic.

    Attributes:
        hidden: its hidden layers.
        output: its last layer, two outputs.
        stabiliser: likewise, of the context vector; zeros where there is none.
        bound: of the magnitude of every sum.
    """

    hidden: tuple[FixedLayer, ...]
    output: FixedLayer
    stabiliser: FixedLayer
    bound: int

    @property
    def is_exact_in_doubles(self) -> bool:
        """Whether double precision gives the same results."""
        return self.bound <= _EXACT_IN_DOUBLES


def fixed_features(
    architecture: CoolChicParameter, codings: Codings, parameters: Parameters
) -> dict[int, FixedLayer]:
    """Linear layers of the IFCE, by index of the grid that has the features."""
    weights, biases = codings[IFCE, "weight"], codings[IFCE, "bias"]
    layers = {}
    for j, i in enumerate(architecture.ifce_grids):
        n_in = architecture.n_inputs_ifce(i)
        weight = parameters[f"{IFCE}.arms.{j}.mlp.0.weight"] << (FRACTION_BITS + weights.exponent)
        if n_in == architecture.output_feature_ifce:  # Cool-Chic takes a square matrix for a residual layer
            weight = weight + (np.eye(n_in, dtype=np.int64) << FRACTION_BITS)
        layers[i] = FixedLayer(
            weight, parameters[f"{IFCE}.arms.{j}.mlp.0.bias"] << (2 * FRACTION_BITS + biases.exponent)
        )
    return layers


def fixed_arm(architecture: CoolChicParameter, codings: Codings, parameters: Parameters) -> FixedArm:
    """The arm, with a bound of its sums for any latents.

    Raises:
        OverflowError: a sum may pass 64 bits.
    """
    n, n_hidden, n_features = (
        architecture.dim_arm,
        architecture.n_hidden_layers_arm,
        architecture.output_feature_ifce,
    )
    # Of the first layer, and of the stabiliser, the last inputs are features.
    shifts = np.full(n, FRACTION_BITS)
    shifts[n - n_features :] = FEATURE_BITS
    weights, biases = codings[ARM, "weight"].exponent, codings[ARM, "bias"].exponent
    layers = []
    for j in range(n_hidden + 1):
        columns = shifts if j == 0 else np.full(n, FRACTION_BITS)
        weight = parameters[f"{ARM}.mlp.{2 * j}.weight"] << (columns + weights)
        if len(weight) == n:  # square, and so residual: the output layer too, with two contexts
            weight = weight + np.diag(np.int64(1) << columns)
        layers.append(FixedLayer(weight, parameters[f"{ARM}.mlp.{2 * j}.bias"] << (2 * FRACTION_BITS + biases)))
    *hidden, output = layers
    output = output._replace(bias=output.bias - np.array([0, _SCALE_OFFSET << 2 * FRACTION_BITS]))
    stabiliser = FixedLayer(np.zeros((2, n), np.int64), np.zeros(2, np.int64))
    if architecture.linear_stabiliser_arm:
        stabiliser = FixedLayer(
            parameters[f"{ARM}.stabiliser_branch.weight"] << (shifts + weights),
            parameters[f"{ARM}.stabiliser_branch.bias"] << (2 * FRACTION_BITS + biases),
        )
    bound = _bound(hidden, output, stabiliser, _largest_inputs(architecture, codings, parameters))
    if bound >= _LARGEST:
        raise OverflowError(f"sums of the arm may reach 2^{bound.bit_length() - 1}; 64 bits hold less than 2^63")
    return FixedArm(tuple(hidden), output, stabiliser, bound)


def _largest_inputs(architecture: CoolChicParameter, codings: Codings, parameters: Parameters) -> list[int]:
    """Largest magnitude of each context, whatever the latents."""
    layers = fixed_features(architecture, codings, parameters).values()
    latent = [-LATENT_RANGE[0] << FRACTION_BITS]
    feature = 0
    for layer in layers:
        sums = _largest_sums(layer, latent * layer.weight.shape[1])
        feature = max(feature, *((largest >> OUTPUT_SHIFT) + 1 for largest in sums))
    feature += feature >> 23  # what rounding to float32 may add, and more
    n_features = architecture.output_feature_ifce
    return latent * architecture.spatial_context_arm + [(feature + 1) << FRACTION_BITS] * n_features


def _bound(hidden: list[FixedLayer], output: FixedLayer, stabiliser: FixedLayer, largest: list[int]) -> int:
    of_stabiliser = _largest_sums(stabiliser, largest)
    bound = max(*largest, *of_stabiliser)
    for layer in hidden:
        sums = _largest_sums(layer, largest)
        bound = max(bound, *sums)
        largest = [value >> FRACTION_BITS for value in sums]
    sums = _largest_sums(output, largest)
    return max(bound, *(a + b for a, b in zip(sums, of_stabiliser, strict=True)))


def _largest_sums(layer: FixedLayer, largest: list[int]) -> list[int]:
    """Of the magnitudes of all terms of each output, without rounding or overflow."""
    return [
        abs(bias) + sum(abs(weight) * value for weight, value in zip(row, largest, strict=True))
        for row, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]
