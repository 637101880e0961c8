"""Planar ``.yuv`` files: what their names say of them, and the frames in them."""

import re
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
import torch

from workers.codec.family import Chroma
from workers.codec.frame import Frame, Planes
from workers.codec.frame_index import choose_frame
from workers.errors import FrameFileError, FrameIndexError

_NAME = re.compile(r".*_(\d{1,5})x(\d{1,5})_[\d.]+p_yuv(420|444)_(8|9|1[0-6])b")


class YuvLayout(NamedTuple):
    """What is in a file, by its name.

    Attributes:
        name: of the file, for messages.
        width: in luma samples.
        height: in luma samples.
        sampling: 420 or 444.
        bitdepth: 8 to 16; more than 8 bits are in 16-bit little-endian words.
        chroma: how large its planes are, where the sampling is 420.
    """

    name: str
    width: int
    height: int
    sampling: int
    bitdepth: int
    chroma: Chroma = Chroma.EVEN

    @classmethod
    def of(cls, name: str, size: int) -> "YuvLayout":
        """Layout of a file ``<name>_<W>x<H>_<fps>p_yuv<420|444>_<8…16>b.yuv``.

        Chroma of odd sizes is rounded up, or down where the file holds whole frames only then.

        Args:
            name: of the file.
            size: of the file, in bytes.

        Raises:
            FrameFileError: it has another name.
        """
        match = _NAME.fullmatch(PurePath(name).stem)
        if match is None:
            raise FrameFileError(
                f"{name}: a .yuv file is named <name>_<W>x<H>_<fps>p_yuv<420|444>_<8…16>b.yuv, "
                "for nothing else says what it holds"
            )
        width, height, sampling, bitdepth = map(int, match.groups())
        layout = cls(name, width, height, sampling, bitdepth)
        if not layout.width or not layout.height:
            raise FrameFileError(f"{name}: a frame has at least one sample; found {layout.width}×{layout.height}")
        smaller = layout._replace(chroma=Chroma.MEAN)
        return smaller if size % layout.frame_bytes and not size % smaller.frame_bytes else layout

    @property
    def plane_sizes(self) -> list[tuple[int, int]]:
        """Height and width of y, u and v."""
        luma = (self.height, self.width)
        chroma = luma if self.sampling == 444 else self.chroma.size(*luma)
        return [luma, chroma, chroma]

    @property
    def dtype(self) -> "np.dtype[np.generic]":
        """Of a sample in the file."""
        return np.dtype("u1" if self.bitdepth == 8 else "<u2")

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame."""
        return sum(height * width for height, width in self.plane_sizes) * self.dtype.itemsize

    def locate(self, frame_index: int | None, size: int) -> int:
        """Where the frame that is meant begins in a file, in bytes.

        Args:
            frame_index: the one that was chosen, if any.
            size: of the file, in bytes.

        Raises:
            FrameIndexError: there is no such frame, or none was chosen of several.
            FrameFileError: the size is no multiple of a frame's.
        """
        n_frames, rest = divmod(size, self.frame_bytes)
        one = (
            f"{self.name}: one {self.width}×{self.height} frame of yuv{self.sampling}, {self.bitdepth} bits, is "
            f"{self.frame_bytes} bytes; found {size}"
        )
        if rest or not n_frames:
            raise FrameFileError(f"{one}, which is no whole number of frames")
        if frame_index is None and n_frames > 1:
            raise FrameIndexError(
                f"{one}, which are {n_frames} frames: choose one by frame_index, from 0 to {n_frames - 1}"
            )
        return choose_frame(n_frames, frame_index, self.name) * self.frame_bytes

    def parse(self, content: bytes) -> Frame:
        """A frame of its bytes.

        Raises:
            FrameFileError: a sample has more bits than the name says.
        """
        samples = np.frombuffer(content, self.dtype).astype(np.float32)
        maximum = 2**self.bitdepth - 1
        if samples.max() > maximum:
            raise FrameFileError(
                f"{self.name}: a {self.bitdepth}-bit sample is at most {maximum}; found {samples.max():.0f}"
            )
        flat = torch.from_numpy(samples) / maximum
        sizes = self.plane_sizes
        planes = [
            plane.view(1, 1, height, width)
            for plane, (height, width) in zip(flat.split([h * w for h, w in sizes]), sizes, strict=True)
        ]
        if self.sampling == 444:
            return Frame(Planes((torch.cat(planes, dim=1),)), "yuv444", self.bitdepth)
        return Frame(Planes(tuple(planes)), "yuv420", self.bitdepth)


def is_yuv(name: str) -> bool:
    """Whether a file is taken for planar samples, by its name."""
    return name.lower().endswith(".yuv")
