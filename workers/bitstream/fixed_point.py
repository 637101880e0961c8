"""Fixed-point arithmetic that gives the same integers on every machine.

Decoding must not depend on the order of sums, and so on the number of threads, the library or the device. Numbers
here are integers that stand for multiples of a power of two. They are kept in double precision, which every machine
multiplies fast, and never exceed what it holds exactly, whole numbers up to 2^53: so every sum is exact.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from workers.bitstream.exp_golomb import Integers

Doubles = npt.NDArray[np.float64]

FRACTION_BITS = 16
"""Activations are multiples of 2^−16."""

MAX_ACTIVATION = 2.0**30
"""They are clamped to this magnitude; as real numbers, to 2^14."""

_MAX_WEIGHTS = 2.0**21  # sum of the weights' magnitudes in one output: products with activations sum to 2^51
_MAX_BIAS = 2.0**51
_MAX_WEIGHT_BITS = 16


class FixedLayer(NamedTuple):
    """A linear layer or convolution of activations.

    Attributes:
        weight: ``[out, in, …]``, multiples of ``2^−bits``.
        bias: ``[out]``, multiples of ``2^−(16 + bits)``.
        bits: of the products with activations that are rounded away.
    """

    weight: Doubles
    bias: Doubles
    bits: int


def round_half_up(x: Doubles) -> Doubles:
    """Nearest integers, the greater one where two are as near."""
    return np.floor(x + 0.5)


def fixed_weights(integers: Integers, exponent: int, *, identity: bool = False) -> tuple[Doubles, int]:
    """Weights as multiples of a power of two, so that products with activations never exceed what is exact.

    Args:
        integers: ``[out, …]``, multiples of ``2^exponent``.
        exponent: see there.
        identity: whether the matrix ``[out, out]`` is added to the unit matrix, for a residual layer.

    Returns:
        The weights as multiples of ``2^−bits``, of the same shape, and ``bits``: 16 at most, as few as hold them
        exactly; or fewer where the weights of one output sum to more than 2^21, and they are rounded then.
    """
    bits = min(max(-exponent, 0), _MAX_WEIGHT_BITS)
    while True:
        weights = round_half_up(np.ldexp(integers.astype(np.float64), exponent + bits))
        if identity:
            weights = weights + round_half_up(np.ldexp(np.eye(len(weights)), bits))
        if np.abs(weights.reshape(len(weights), -1)).sum(axis=1).max() <= _MAX_WEIGHTS:
            return weights, bits
        bits -= 1


def fixed_biases(integers: Integers, exponent: int, bits: int) -> Doubles:
    """Biases as what is added to products of activations and weights of so many bits; of the same shape."""
    biases = np.ldexp(integers.astype(np.float64), exponent + FRACTION_BITS + bits)
    return np.clip(round_half_up(biases), -_MAX_BIAS, _MAX_BIAS)


def fixed_layer(
    weights: Integers, weight_exponent: int, biases: Integers, bias_exponent: int, *, identity: bool = False
) -> FixedLayer:
    """A layer of multiples of powers of two; see :func:`fixed_weights` and :func:`fixed_biases`."""
    weight, bits = fixed_weights(weights, weight_exponent, identity=identity)
    return FixedLayer(weight, fixed_biases(biases, bias_exponent, bits), bits)


def to_activations(latents: Integers) -> Doubles:
    """Latents as what the networks take in."""
    return np.clip(latents * 2.0**FRACTION_BITS, -MAX_ACTIVATION, MAX_ACTIVATION)


def apply_layer(layer: FixedLayer, x: Doubles, lowest: float = -MAX_ACTIVATION) -> Doubles:
    """Activations ``[n, out]`` of a linear layer of ``[n, in]``, none below a bound."""
    y: Doubles = x @ layer.weight.T
    y += layer.bias
    y *= 2.0**-layer.bits
    y += 0.5
    np.floor(y, out=y)
    return np.clip(y, lowest, MAX_ACTIVATION, out=y)
