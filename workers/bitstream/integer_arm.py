"""The arm in fixed-point arithmetic: the same distribution for every latent, wherever it is computed."""

from typing import NamedTuple

import numpy as np

from workers.bitstream.exp_golomb import Integers
from workers.bitstream.fixed_point import FRACTION_BITS, MAX_ACTIVATION, Doubles, apply_layer, round_half_up
from workers.bitstream.laplace import FIRST_SCALE, LAST_SCALE, MEAN_BITS, SCALE_BITS
from workers.bitstream.networks import QuantizedNetworks
from workers.codec.coolchic_parameter import ARM


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
        coolchic = networks.coolchic
        n_hidden = coolchic.n_hidden_layers_arm
        self._hidden = [networks.layer(f"{ARM}.mlp.{2 * j}", residual=True) for j in range(n_hidden)]
        self._outputs = networks.layer(f"{ARM}.mlp.{2 * n_hidden}")
        stabilised = coolchic.linear_stabiliser_arm
        self._stabiliser = networks.layer(f"{ARM}.stabiliser_branch") if stabilised else None

    def __call__(self, context: Doubles) -> Distributions:
        """Distributions of ``n`` latents.

        Args:
            context: ``[n, C]``, activations.
        """
        x = context
        for layer in self._hidden:
            x = apply_layer(layer, x, 0.0)  # hidden layers are rectified
        x = apply_layer(self._outputs, x)
        if self._stabiliser is not None:
            x += apply_layer(self._stabiliser, context)
            np.clip(x, -MAX_ACTIVATION, MAX_ACTIVATION, out=x)
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
