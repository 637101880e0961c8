"""Frames: the samples of a picture."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.codec.encoder_parameter import FrameDataType
from workers.codec.family import Chroma
from workers.files import Fingerprint


class Planes(NamedTuple):
    """Samples in [0, 1], whatever the format.

    Attributes:
        tensors: one ``[1, 3, H, W]`` for rgb and yuv444; for yuv420 the planes y ``[1, 1, H, W]``,
            u and v ``[1, 1, …]`` of the size that :class:`~workers.codec.family.Chroma` gives.
    """

    tensors: tuple[Tensor, ...]

    @property
    def luma_size(self) -> tuple[int, int]:
        """Height and width of the first plane."""
        height, width = self.tensors[0].shape[-2:]
        return height, width

    @property
    def samples(self) -> tuple[int, int, int]:
        """Number of samples of each of the three planes."""
        whole = self.tensors[0].numel() // 3
        first, second, third = (plane.numel() for plane in self.tensors) if len(self.tensors) == 3 else (whole,) * 3
        return first, second, third

    @classmethod
    def from_444(cls, image: Tensor, frame_data_type: FrameDataType, chroma: Chroma) -> "Planes":
        """Planes of a ``[1, 3, H, W]`` image, not clamped; chroma is sampled for yuv420."""
        if frame_data_type != "yuv420":
            return cls((image,))
        if chroma is Chroma.EVEN:
            return cls((image[:, :1], image[:, 1:2, ::2, ::2], image[:, 2:, ::2, ::2]))
        rows, columns = chroma.size(*image.shape[-2:])
        # Torch makes no means of nothing.
        means = F.avg_pool2d(image[:, 1:], 2) if rows and columns else image[:, 1:, :rows, :columns]
        return cls((image[:, :1], means[:, :1], means[:, 1:]))

    def clamp(self) -> "Planes":
        """Samples clamped to [0, 1]."""
        return Planes(tuple(plane.clamp(0.0, 1.0) for plane in self.tensors))

    def round(self, bitdepth: int) -> "Planes":
        """Samples ``round(x · M) / M`` with ``M = 2^bitdepth − 1``, as a file of that bit depth holds them."""
        maximum = 2**bitdepth - 1
        return Planes(tuple(torch.round(plane * maximum).div(maximum) for plane in self.tensors))

    def to(self, device: torch.device) -> "Planes":
        """The same samples on another device."""
        return Planes(tuple(plane.to(device) for plane in self.tensors))


@dataclass(frozen=True)
class Frame:
    """A picture to compress.

    Attributes:
        data: its samples.
        frame_data_type: ``rgb``, ``yuv444`` or ``yuv420``.
        bitdepth: bits of a sample in the file it came from.
        warnings: what a user should know of how its file was read, one sentence each.
        file: of the file that it was read from, or of its part of a file of several frames; ``None`` for a frame
            that was made in memory.
    """

    data: Planes
    frame_data_type: FrameDataType
    bitdepth: int
    warnings: tuple[str, ...] = ()
    file: Fingerprint | None = None

    @property
    def img_size(self) -> tuple[int, int]:
        """Height and width, in luma samples."""
        return self.data.luma_size
