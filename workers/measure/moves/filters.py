"""The upsampling's filters in exact sums, with torch."""

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from workers.measure.moves.fixed_point import PICTURE_UNIT, to_multiple


class Filters(Protocol):
    """Applies separable filters; the numbers depend on no implementation."""

    def upsample(self, x: Tensor, kernel: Tensor, height: int, width: int) -> Tensor:
        """``[C, h, w]``, twice as high and wide, cut to ``[C, height, width]``."""

    def filter(self, x: Tensor, kernel: Tensor) -> Tensor:
        """``[C, h, w]`` filtered, plus itself."""


class PlainFilters:
    """The filters with torch."""

    def upsample(self, x: Tensor, kernel: Tensor, height: int, width: int) -> Tensor:
        """``[C, h, w]``, twice as high and wide, cut to ``[C, height, width]``."""
        k = len(kernel)
        pad, crop = k // 2, 2 * (k // 2) - 1 + k // 2
        if not x.shape[0]:
            return x.new_empty(0, height, width)
        x = F.pad(x[:, None], (pad, pad, 0, 0), mode="replicate")
        x = F.conv_transpose2d(x, kernel.view(1, 1, 1, k), stride=(1, 2))[..., crop:-crop]
        x = F.pad(to_multiple(x, PICTURE_UNIT), (0, 0, pad, pad), mode="replicate")
        x = F.conv_transpose2d(x, kernel.view(1, 1, k, 1), stride=(2, 1))[..., crop:-crop, :]
        return to_multiple(x, PICTURE_UNIT)[:, 0, :height, :width]

    def filter(self, x: Tensor, kernel: Tensor) -> Tensor:
        """``[C, h, w]`` filtered, plus itself."""
        k = len(kernel)
        if not x.shape[0]:
            return x
        y = F.conv2d(x[:, None], kernel.view(1, 1, 1, k), padding=(0, k // 2))
        y = F.conv2d(to_multiple(y, PICTURE_UNIT), kernel.view(1, 1, k, 1), padding=(k // 2, 0))
        return to_multiple(y[:, 0] + x, PICTURE_UNIT)
