"""A plugin: distortions that weigh planes, which the engine knows how to measure, and one that it does not know."""

from typing import ClassVar

from torch import Tensor

from workers.codec import Planes
from workers.objective.metric import METRICS


def channels(frame: Planes) -> tuple[Tensor, ...]:
    """The three planes, whatever the format."""
    return frame.tensors if len(frame.tensors) == 3 else frame.tensors[0].split(1, dim=1)


class OfPlanes:
    """Mean squared errors of the planes, weighed as the usual PSNR of yuv420 weighs its three."""

    SHARES: ClassVar = (6 / 8, 1 / 8, 1 / 8)

    def distortion(self, decoded: Planes, original: Planes) -> Tensor:
        pairs = zip(channels(decoded), channels(original), strict=True)
        errors = ((ours - theirs).square().mean() for ours, theirs in pairs)
        return sum((share * error for share, error in zip(self.SHARES, errors, strict=True)), Tensor([0.0])[0])

    def plane_weights(self, samples: tuple[int, int, int]) -> tuple[float, float, float]:
        first, second, third = (share / max(1, n) for share, n in zip(self.SHARES, samples, strict=True))
        return first, second, third


class AbsoluteOfLuma:
    """Mean absolute error of the first plane."""

    plane_weights = None

    def distortion(self, decoded: Planes, original: Planes) -> Tensor:
        return (channels(decoded)[0] - channels(original)[0]).abs().mean()


class Negative(OfPlanes):
    """Weights that are none."""

    def plane_weights(self, samples: tuple[int, int, int]) -> tuple[float, float, float]:  # noqa: ARG002
        return 1.0, -1.0, 1.0


METRICS.register("of_planes", OfPlanes())
METRICS.register("absolute_of_luma", AbsoluteOfLuma())
METRICS.register("negative", Negative())
