"""The samples that a bitstream decodes to, without torch; and as a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from workers.codec import Frame
    from workers.codec.encoder_parameter import FrameDataType

Samples = npt.NDArray[np.uint16]


class DecodedPicture(NamedTuple):
    """The samples of a frame.

    Attributes:
        planes: three, each ``[h, w]`` in 0 … ``2^bitdepth − 1``.
        frame_data_type: ``rgb``, ``yuv420`` or ``yuv444``.
        bitdepth: bits of a sample.
    """

    planes: tuple[Samples, Samples, Samples]
    frame_data_type: FrameDataType
    bitdepth: int

    @property
    def img_size(self) -> tuple[int, int]:
        """Height and width of the first plane."""
        height, width = self.planes[0].shape
        return height, width


def frame_of(picture: DecodedPicture) -> Frame:
    """Decoded samples as a frame."""
    import torch

    from workers.codec import Frame, Planes

    maximum = 2**picture.bitdepth - 1
    planes = [torch.from_numpy(plane.astype(np.float32))[None, None] / maximum for plane in picture.planes]
    tensors = tuple(planes) if picture.frame_data_type == "yuv420" else (torch.cat(planes, dim=1),)
    return Frame(Planes(tensors), picture.frame_data_type, picture.bitdepth)


def samples_of(frame: Frame) -> DecodedPicture:
    """A decoded frame as its samples."""
    maximum = 2**frame.bitdepth - 1
    tensors = [(tensor * maximum).round().cpu().numpy().astype(np.uint16)[0] for tensor in frame.data.tensors]
    y, u, v = (plane for tensor in tensors for plane in tensor)
    return DecodedPicture((y, u, v), frame.frame_data_type, frame.bitdepth)
