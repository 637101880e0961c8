"""Frames: the samples of a picture, and the files they are read from."""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from workers.codec.parameter import FrameDataType
from workers.errors import FrameFileError
from workers.files import describe, read_bytes, reason_of

_YUV_NAME = re.compile(r".*_(\d{1,5})x(\d{1,5})_[\d.]+p_yuv(420|444)_(8|10)b")


class Planes(NamedTuple):
    """Samples in [0, 1], whatever the format.

    Attributes:
        tensors: one ``[1, 3, H, W]`` for rgb and yuv444; for yuv420 the planes y ``[1, 1, H, W]``,
            u and v ``[1, 1, ceil(H/2), ceil(W/2)]``.
    """

    tensors: tuple[Tensor, ...]

    @property
    def luma_size(self) -> tuple[int, int]:
        """Height and width of the first plane."""
        height, width = self.tensors[0].shape[-2:]
        return height, width

    @classmethod
    def from_444(cls, image: Tensor, frame_data_type: FrameDataType) -> "Planes":
        """Planes of a ``[1, 3, H, W]`` image; for yuv420 chroma keeps every second row and column."""
        if frame_data_type != "yuv420":
            return cls((image,))
        return cls((image[:, :1], image[:, 1:2, ::2, ::2], image[:, 2:, ::2, ::2]))

    def clamp(self) -> "Planes":
        """Samples clamped to [0, 1]."""
        return Planes(tuple(plane.clamp(0.0, 1.0) for plane in self.tensors))

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
    """

    data: Planes
    frame_data_type: FrameDataType
    bitdepth: int
    warnings: tuple[str, ...] = ()

    @property
    def img_size(self) -> tuple[int, int]:
        """Height and width, in luma samples."""
        return self.data.luma_size


def read_frame(location: str | Path) -> Frame:
    """Read a frame file, at a path or URI.

    Raises:
        FrameFileError: it cannot be read, or :func:`parse_frame` cannot use it.
    """
    name = describe(str(location))
    try:
        content = read_bytes(location)
    except (OSError, ValueError) as error:
        raise FrameFileError(f"{name}: the frame cannot be read: {reason_of(error)}") from None
    return parse_frame(content, name)


def parse_frame(content: bytes, name: str) -> Frame:
    """Frame of a file's bytes.

    Args:
        content: a picture of 8-bit RGB, grey or palette samples in any format that Pillow reads; or, where
            the name ends in ``.yuv``, one frame of planar samples, 16-bit little-endian words for 10 bits.
        name: the file's name; a ``.yuv`` file is named ``<name>_<W>x<H>_<fps>p_yuv<420|444>_<8|10>b.yuv``.

    Raises:
        FrameFileError: the file is empty, truncated, no picture, or of a kind that is not supported.
    """
    if not content:
        raise FrameFileError(f"{name}: the frame file is empty")
    return _parse_yuv(content, name) if name.lower().endswith(".yuv") else _parse_picture(content, name)


def dump_frame(frame: Frame, name: str) -> bytes:
    """Bytes of a frame's file, which :func:`parse_frame` reads again: a PNG for rgb, planar samples for yuv.

    Raises:
        FrameFileError: the name's suffix is not that of the frame's format.
    """
    suffix = ".png" if frame.frame_data_type == "rgb" else ".yuv"
    if PurePath(name).suffix.lower() != suffix:
        raise FrameFileError(f"{name}: a frame of format {frame.frame_data_type} is written as {suffix}")
    maximum = 2**frame.bitdepth - 1
    planes = [torch.round(plane * maximum).cpu().numpy()[0] for plane in frame.data.tensors]  # [C, h, w] each
    if suffix == ".yuv":
        return b"".join(plane.astype("u1" if frame.bitdepth == 8 else "<u2").tobytes() for plane in planes)
    sink = io.BytesIO()
    Image.fromarray(planes[0].transpose(1, 2, 0).astype(np.uint8)).save(sink, "PNG")
    return sink.getvalue()


def _parse_picture(content: bytes, name: str) -> Frame:
    try:
        with warnings.catch_warnings():
            # Large pictures are what this is for; Pillow still refuses the absurd ones with an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture: Image.Image = Image.open(io.BytesIO(content))
            # Pillow cuts deeper samples to 8 bits in silence, and forgets once it has loaded them.
            is_deep = any(map(_is_deep, getattr(picture, "tile", []))) or _png_bits(content) > 8
            picture.load()
    except Image.DecompressionBombError as error:
        raise FrameFileError(f"{name}: the picture is too large to be a picture: {error}") from None
    except UnidentifiedImageError:
        raise FrameFileError(f"{name}: not a picture, or of a format that is not supported") from None
    except Exception as error:  # the decoders raise several unrelated types
        raise FrameFileError(f"{name}: the picture is damaged or truncated: {error}") from None
    if (n_pictures := getattr(picture, "n_frames", 1)) != 1:
        raise FrameFileError(f"{name}: a frame is one picture; found {n_pictures}")
    if picture.mode not in ("RGB", "L", "P", "1", "RGBA", "LA"):
        raise FrameFileError(f"{name}: 8-bit RGB, grey or palette samples are supported; found {picture.mode}")
    if picture.has_transparency_data:
        if np.array(picture.convert("RGBA"))[..., 3].min() < 255:
            raise FrameFileError(f"{name}: transparency is not supported")
        picture = picture.convert("RGBA")
    if is_deep:
        raise FrameFileError(f"{name}: 8-bit samples are supported; found a {picture.format} of deeper ones")
    samples = np.array(picture.convert("RGB"), dtype=np.uint8)  # [H, W, 3]
    image = torch.from_numpy(samples).permute(2, 0, 1)[None].to(torch.float32) / 255
    return Frame(Planes((image.contiguous(),)), "rgb", 8)


def _png_bits(content: bytes) -> int:
    return content[24] if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) > 24 else 0


def _is_deep(tile: Sequence[Any]) -> bool:
    """Whether a tile of a picture, as Pillow describes it before it is loaded, has more than 8 bits a sample."""
    codec, *_, arguments = tile
    return ";16" in str(arguments) or (codec in ("ppm", "ppm_plain") and arguments[-1] > 255)


def _parse_yuv(content: bytes, name: str) -> Frame:
    match = _YUV_NAME.fullmatch(PurePath(name).stem)
    if match is None:
        raise FrameFileError(
            f"{name}: a .yuv file is named <name>_<W>x<H>_<fps>p_yuv<420|444>_<8|10>b.yuv, "
            "for nothing else says what it holds"
        )
    width, height, sampling, bitdepth = (int(group) for group in match.groups())
    if not width or not height:
        raise FrameFileError(f"{name}: a frame has at least one sample; found {width}×{height}")
    chroma = (height, width) if sampling == 444 else ((height + 1) // 2, (width + 1) // 2)
    sizes = [(height, width), chroma, chroma]
    dtype = np.dtype("u1" if bitdepth == 8 else "<u2")
    expected = sum(h * w for h, w in sizes) * dtype.itemsize
    if len(content) != expected:
        raise FrameFileError(
            f"{name}: one {width}×{height} frame of yuv{sampling}, {bitdepth} bits, is {expected} bytes; "
            f"found {len(content)}"
        )
    samples = np.frombuffer(content, dtype).astype(np.float32)
    maximum = 2**bitdepth - 1
    if samples.max() > maximum:
        raise FrameFileError(f"{name}: a {bitdepth}-bit sample is at most {maximum}; found {samples.max():.0f}")
    flat = torch.from_numpy(samples) / maximum
    planes = [
        plane.view(1, 1, h, w) for plane, (h, w) in zip(flat.split([h * w for h, w in sizes]), sizes, strict=True)
    ]
    if sampling == 444:
        return Frame(Planes((torch.cat(planes, dim=1),)), "yuv444", bitdepth)
    return Frame(Planes(tuple(planes)), "yuv420", bitdepth)
