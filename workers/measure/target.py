"""The original frame, and the parts of it in which a decoded one is compared with it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec import Frame


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
        samples: ``[3, H, W]`` in 0…M; for yuv420 chroma stands where it is sampled, and 0 elsewhere.
        maximum: ``M = 2^bitdepth − 1``.
        n_samples: number of samples of all planes.
        subsampled: whether chroma counts in every second row and column alone.
    """

    def __init__(self, frame: Frame, device: torch.device) -> None:
        self.maximum = 2**frame.bitdepth - 1
        self.n_samples = sum(plane.numel() for plane in frame.data.tensors)
        self.subsampled = frame.frame_data_type == "yuv420"
        planes = [self._integers(plane) for plane in frame.data.tensors]
        if self.subsampled:
            dense = planes[0].new_zeros(3, *planes[0].shape[-2:])
            dense[0] = planes[0][0, 0]
            for channel in (1, 2):
                dense[channel, ::2, ::2] = planes[channel][0, 0]
        else:
            dense = planes[0][0]
        # The kernel's last load may reach beyond the samples.
        self.samples = F.pad(dense.flatten(), (0, 16)).to(device)[:-16].view(dense.shape)

    def _integers(self, plane: Tensor) -> Tensor:
        scaled = plane * self.maximum
        nearest = scaled.round()
        # A frame made in memory may hold values between those of its bit depth; those stay as they are.
        return torch.where((scaled - nearest).abs() < 1e-3, nearest, scaled)

    def squared_error(self, decoded: Tensor, tile: FrameTile) -> Tensor:
        """Sum of squared errors of a tile, in units of ``1/M²``.

        Args:
            decoded: output of the synthesis, ``[n_candidates, 3, rows, columns]``; overwritten.
            tile: where it lies.

        Returns:
            ``[n_candidates]`` float64.
        """
        original = self.samples[:, tile.top : tile.top + tile.rows, tile.left : tile.left + tile.columns]
        error = decoded.mul_(self.maximum).round_().clamp_(0, self.maximum).sub_(original)
        if self.subsampled:
            error[:, 1:, 1::2] = 0
            error[:, 1:, :, 1::2] = 0
        return error.square_().sum(dim=(1, 2, 3), dtype=torch.float64)

    def mean_squared_error(self, squared_error: float) -> float:
        """Mean over all samples, each in [0, 1], of a sum that :meth:`squared_error` gave for the whole frame."""
        samples: int = self.maximum**2 * self.n_samples
        return squared_error / samples
