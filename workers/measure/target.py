"""The original frame, and the parts of it in which a decoded one is compared with it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec import Frame
from workers.codec.family import Chroma
from workers.measure.cost import Sums
from workers.objective.loss import MSE
from workers.objective.metric import PlaneWeights, total, weights_of


class FrameTile(NamedTuple):
    """A rectangle of the frame, whose first row and column are even."""

    top: int
    left: int
    rows: int
    columns: int

    @property
    def bottom(self) -> int:
        """The row after the last one."""
        return self.top + self.rows

    @property
    def right(self) -> int:
        """The column after the last one."""
        return self.left + self.columns

    def grown(self, reach: int, height: int, width: int) -> "FrameTile":
        """With so many pixels more on every side, as far as the frame reaches."""
        top, left = max(0, self.top - reach), max(0, self.left - reach)
        bottom, right = min(height, self.bottom + reach), min(width, self.right + reach)
        return FrameTile(top, left, bottom - top, right - left)


class Target:
    """The original frame, as the integers that its samples are.

    Attributes:
        samples: ``[3, H, W]`` in 0…M; for yuv420 chroma stands in every second row and column, and 0 elsewhere.
        maximum: ``M = 2^bitdepth − 1``.
        chroma: how it is sampled; ``None`` for samples of full size.
        weights: of the squared errors of the planes; see :class:`~workers.objective.metric.Metric`.
    """

    def __init__(
        self, frame: Frame, device: torch.device, chroma: Chroma, weigh: PlaneWeights = MSE.plane_weights
    ) -> None:
        self.maximum = 2**frame.bitdepth - 1
        samples = frame.data.samples
        self.weights = weights_of(weigh, samples)
        self._whole: int = self.maximum**2 * sum(samples)
        self._weighted_whole: float = self.maximum**2 * total(self.weights, samples)
        self.chroma = chroma if frame.frame_data_type == "yuv420" else None
        planes = [self._integers(plane) for plane in frame.data.tensors]
        if self.chroma is not None:
            dense = planes[0].new_zeros(3, *planes[0].shape[-2:])
            dense[0] = planes[0][0, 0]
            for channel in (1, 2):
                rows, columns = planes[channel].shape[-2:]
                dense[channel, : 2 * rows : 2, : 2 * columns : 2] = planes[channel][0, 0]
        else:
            dense = planes[0][0]
        # The kernel's last load may reach beyond the samples.
        self.samples = F.pad(dense.flatten(), (0, 16)).to(device)[:-16].view(dense.shape)

    def _integers(self, plane: Tensor) -> Tensor:
        scaled = plane * self.maximum
        nearest = scaled.round()
        # A frame made in memory may hold values between those of its bit depth; those stay as they are.
        return torch.where((scaled - nearest).abs() < max(1e-3, self.maximum * 2.0**-23), nearest, scaled)

    def squared_errors(self, decoded: Tensor, tile: FrameTile) -> Tensor:
        """Sums of squared errors of a tile, plane by plane, in units of ``1/M²``.

        Args:
            decoded: output of the synthesis, ``[n_candidates, 3, rows, columns]``; overwritten.
            tile: where it lies.

        Returns:
            ``[n_candidates, 3]`` float64.
        """
        original = self.samples[:, tile.top : tile.top + tile.rows, tile.left : tile.left + tile.columns]
        if self.chroma is None:
            return self._sums(decoded, original)
        luma = self._sums(decoded[:, :1], original[:1])
        if self.chroma is Chroma.EVEN:
            return torch.cat([luma, self._sums(decoded[:, 1:, ::2, ::2], original[1:, ::2, ::2])], dim=1)
        if min(tile.rows, tile.columns) < 2:
            return F.pad(luma, (0, 2))
        means = F.avg_pool2d(decoded[:, 1:], 2)
        rows, columns = means.shape[-2:]
        return torch.cat([luma, self._sums(means, original[1:, : 2 * rows : 2, : 2 * columns : 2])], dim=1)

    def _sums(self, decoded: Tensor, original: Tensor) -> Tensor:
        error = decoded.mul_(self.maximum).round_().clamp_(0, self.maximum).sub_(original)
        return error.square_().sum(dim=(2, 3), dtype=torch.float64)

    def mean_squared_error(self, squared_errors: Sums) -> float:
        """Mean over all samples, each in [0, 1], of what :meth:`squared_errors` gave for the whole frame."""
        return sum(squared_errors) / self._whole

    def distortion(self, squared_errors: Sums) -> float:
        """The same with the weights of the metric."""
        first, second, third = self.weights
        of_first, of_second, of_third = squared_errors
        return (first * of_first + second * of_second + third * of_third) / self._weighted_whole
