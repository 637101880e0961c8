"""The arm in fixed-point arithmetic: the same distribution for every latent, wherever it is computed."""

from typing import NamedTuple

import numpy as np

from workers.bitstream.exp_golomb import Integers
from workers.bitstream.fixed_point import (
    FRACTION_BITS,
    MAX_ACTIVATION,
    Doubles,
    fixed_biases,
    fixed_weights,
    round_half_up,
)
from workers.bitstream.laplace import FIRST_SCALE, LAST_SCALE, MEAN_BITS, SCALE_BITS
from workers.bitstream.networks import QuantizedNetworks
from workers.codec.coolchic_3_4 import ARM


class Distributions(NamedTuple):
    """Distributions of ``n`` latents, as indices into :class:`~workers.bitstream.laplace.LaplaceTable`.

    Attributes:
        centre: ``[n]``, nearest integer to the expectation.
        mean: ``[n]``, index of the expectation's distance from it.
        scale: ``[n]``, index of the scale.
    """

    centre: Integers
    mean: Integers
    scale: Integers


class IntegerArm:
    """The arm of some networks."""

    def __init__(self, networks: QuantizedNetworks) -> None:
        n_hidden = networks.param.n_hidden_layers_arm
        self._layers = []
        for j in range(n_hidden + 1):
            weight, bias = f"{ARM}.mlp.{2 * j}.weight", f"{ARM}.mlp.{2 * j}.bias"
            matrix, bits = fixed_weights(
                networks.integers[weight], networks.exponents[weight], identity=j < n_hidden
            )
            biases = fixed_biases(networks.integers[bias], networks.exponents[bias], bits)
            self._layers.append((np.ascontiguousarray(matrix.T), biases, 2.0**-bits))

    def __call__(self, context: Doubles) -> Distributions:
        """Distributions of ``n`` latents.

        Args:
            context: ``[n, C]``, neighbours as activations, see :func:`to_activations`.
        """
        x = context
        for layer, (matrix, biases, scale) in enumerate(self._layers, start=1):
            x = x @ matrix
            x += biases
            x *= scale
            x += 0.5
            np.floor(x, out=x)
            lowest = -MAX_ACTIVATION if layer == len(self._layers) else 0.0  # hidden layers are rectified
            np.clip(x, lowest, MAX_ACTIVATION, out=x)
        mean = round_half_up(x[:, 0] * 2.0 ** (MEAN_BITS - FRACTION_BITS))
        centre = round_half_up(mean * 2.0**-MEAN_BITS)
        scale_index = round_half_up((x[:, 1] * 2.0**-FRACTION_BITS - 4) * 2.0**SCALE_BITS)
        np.clip(scale_index, FIRST_SCALE, LAST_SCALE, out=scale_index)
        half = 1 << MEAN_BITS - 1
        return Distributions(
            centre.astype(np.int64),
            (mean - centre * 2.0**MEAN_BITS).astype(np.int64) + half,
            scale_index.astype(np.int64) - FIRST_SCALE,
        )


def to_activations(latents: Integers) -> Doubles:
    """Latents as what the arm and the upsampling take in."""
    return np.clip(latents * 2.0**FRACTION_BITS, -MAX_ACTIVATION, MAX_ACTIVATION)
