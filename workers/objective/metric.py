"""Metrics: distortions that the loss of a sweep can be made of, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from workers.errors import InputError
from workers.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from workers.codec.frame import Planes

PlaneWeights = Callable[[tuple[int, int, int]], tuple[float, float, float]]
"""Weights of the squared error of one sample of each plane, from the numbers of samples of the planes."""


class Metric(Protocol):
    """A distortion of a decoded frame.

    Where it is a mean of squared errors, with weights by plane, it says so: then the engine measures it tile by
    tile, prunes candidates in mode ``winner``, and knows which losses lie too close for its own arithmetic. Any
    other metric is measured by whole forward passes, every candidate in full and by the plain arithmetic.
    """

    def distortion(self, decoded: Planes, original: Planes) -> Tensor:
        """The distortion of a whole frame.

        Args:
            decoded: samples in [0, 1].
            original: of the same format.

        Returns:
            A 0-d tensor: finite, and the smaller the better. It carries gradients where bitstreams are to be
            written, since their latents are trained with the same loss.
        """

    @property
    def plane_weights(self) -> PlaneWeights | None:
        """Weights ``w`` if the distortion is ``Σ w_p · (sum of squared errors of plane p) / Σ w_p · n_p``.

        ``n_p`` is the number of samples of plane ``p``. ``None`` for every other distortion.
        """


METRICS: Registry[Metric] = Registry("metric", {"mse": "workers.objective.loss:MSE"})
"""Metrics by name; plugins add to them."""


def weights_of(weigh: PlaneWeights, samples: tuple[int, int, int]) -> tuple[float, float, float]:
    """Weights of a metric for a frame.

    Args:
        weigh: ``plane_weights`` of the metric.
        samples: number of samples of each plane.

    Raises:
        InputError: they are not finite, negative, or 0 for every sample.
    """
    weights = weigh(samples)
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not total(weights, samples) > 0:
        raise InputError(
            f"a metric's weights of planes are finite, 0 or more and not all 0; found {weights} for planes of "
            f"{samples} samples"
        )
    return weights


def greatest_weight(metric: Metric, samples: tuple[int, int, int]) -> float:
    """The greatest weight of a sample, in weights of the average sample: 1 where all are equal.

    An error of the decoded frame that changes its mean squared error by ``x`` changes the distortion by no more
    than so many times ``x``. It is 1 for a metric without weights, which needs no bounds.
    """
    if metric.plane_weights is None:
        return 1.0
    weights = weights_of(metric.plane_weights, samples)
    present = [weight for weight, n in zip(weights, samples, strict=True) if n]
    return max(present) * sum(samples) / total(weights, samples)


def total(weights: Sequence[float], values: Sequence[float]) -> float:
    """Sum of the values of the planes, with their weights."""
    return sum(weight * value for weight, value in zip(weights, values, strict=True))
