"""Rate–distortion cost of a decoded frame."""

from typing import NamedTuple

import torch
from torch import Tensor

from workers.codec.frame import Planes
from workers.objective.metric import Metric


class LossFunctionOutput(NamedTuple):
    """Cost and its parts, as 0-d float32 tensors that carry gradients.

    Attributes:
        loss: ``distortion + lmbda · (rate_latent_bit + rate_nn_bit) / (H · W)``.
        mse: mean squared error over all samples of all planes, samples in [0, 1].
        rate_latent_bit: bits of all latents.
        distortion: by the metric; that is ``mse`` where no other one is asked for.
    """

    loss: Tensor
    mse: Tensor
    rate_latent_bit: Tensor
    distortion: Tensor


def mean_squared_error(decoded: Planes, target: Planes) -> Tensor:
    """Sum of squared errors of all planes over their number of samples, 0-d."""
    if len(decoded.tensors) == 1:
        return (decoded.tensors[0] - target.tensors[0]).square().mean()
    samples = sum(plane.numel() for plane in target.tensors)
    parts = [
        (ours - theirs).square().mean() * ours.numel()
        for ours, theirs in zip(decoded.tensors, target.tensors, strict=True)
        if ours.numel()  # chroma of a frame of one row or column may have no samples
    ]
    return sum(parts[1:], parts[0]) / samples


class MeanSquaredError:
    """The metric ``mse``; see :class:`~workers.objective.metric.Metric`."""

    def distortion(self, decoded: Planes, original: Planes) -> Tensor:
        """See :func:`mean_squared_error`."""
        return mean_squared_error(decoded, original)

    def plane_weights(self, samples: tuple[int, int, int]) -> tuple[float, float, float]:  # noqa: ARG002
        """Every sample counts the same."""
        return 1.0, 1.0, 1.0


MSE = MeanSquaredError()
"""The metric of Cool-Chic, and of every sweep that does not name another one."""


def mean_colour_error(frame: Planes) -> Tensor:
    """Mean squared error of the picture whose planes are constant, each the mean of the frame's, 0-d.

    No frame encoder that was fitted to the frame does worse than this for long, at any rate.
    """
    return mean_squared_error(Planes(tuple(_constant(plane) for plane in frame.tensors)), frame)


def _constant(plane: Tensor) -> Tensor:
    return plane.mean(dim=(2, 3), keepdim=True, dtype=torch.float64).to(plane.dtype).expand_as(plane)


def loss_function(
    decoded_image: Planes,
    rate_latent_bit: Tensor,
    target_image: Planes,
    lmbda: float,
    rate_nn_bit: float = 0.0,
    metric: Metric = MSE,
) -> LossFunctionOutput:
    """Rate–distortion cost ``D + λR`` of a decoded frame.

    Args:
        decoded_image: the decoded frame.
        rate_latent_bit: bits of each latent, any shape.
        target_image: the original frame, of the same format.
        lmbda: weight of the rate.
        rate_nn_bit: bits of the networks that have been quantized; carries no gradient.
        metric: gives the distortion.

    Returns:
        The cost and its parts. The rate is divided by the number of luma samples in every format.
    """
    distortion = metric.distortion(decoded_image, target_image)
    mse = distortion if metric is MSE else mean_squared_error(decoded_image, target_image)
    height, width = target_image.luma_size
    rate = rate_latent_bit.sum()
    loss = distortion + lmbda * ((rate + rate_nn_bit) / (height * width))
    return LossFunctionOutput(loss, mse, rate, distortion)
