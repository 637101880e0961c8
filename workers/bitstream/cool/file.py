"""A ``.cool`` file as its parts: headers, parameters and the bytes of the latents; and back."""

from collections.abc import Mapping
from typing import NamedTuple

from workers.bitstream.cool.coolchic_header import (
    CoolChicHeader,
    read_coolchic_header,
    write_coolchic_header,
)
from workers.bitstream.cool.order import ROLES
from workers.bitstream.cool.video_header import (
    PICTURE,
    FrameHeader,
    VideoHeader,
    read_frame_header,
    read_video_header,
    write_frame_header,
    write_video_header,
)
from workers.errors import BitstreamError


class CoolChicPart(NamedTuple):
    """One cool-chic of a frame, its parameters and latents as they are coded.

    Attributes:
        name: for messages, such as ``residue of frame 0``.
        header: of it.
        parameters: bytes of its networks.
        latents: bytes of its grids.
    """

    name: str
    header: CoolChicHeader
    parameters: bytes
    latents: bytes


class FramePart(NamedTuple):
    """One frame of a file.

    Attributes:
        header: of it.
        coolchics: by role, ``residue`` and, with references, ``motion``.
    """

    header: FrameHeader
    coolchics: Mapping[str, CoolChicPart]


class CoolFile(NamedTuple):
    """A file.

    Attributes:
        header: of the video; a picture is a video of one frame.
        frames: in coding order.
    """

    header: VideoHeader
    frames: tuple[FramePart, ...]

    @property
    def img_size(self) -> tuple[int, int]:
        """Height and width of every frame."""
        return self.frames[0].coolchics[ROLES[0]].header.architecture.img_size


def is_cool(content: bytes, name: str) -> bool:
    """Whether a file is taken for a ``.cool`` file: by its name, or as one of a single picture by its beginning.

    The format has no magic number.
    """
    return name.lower().endswith(".cool") or content.startswith(write_video_header(PICTURE))


def parse_cool(content: bytes) -> CoolFile:
    """Take a file apart; parameters and latents are not decoded.

    Raises:
        BitstreamError: it is truncated, something follows it, or a header breaks a rule of the format.
    """
    if not content:
        raise BitstreamError("the file is empty")
    video, at = read_video_header(content)
    frames: list[FramePart] = []
    for place in video.coding_order():
        header, at = read_frame_header(content, at, place)
        coolchics = {}
        for role in ROLES[: 2 if place.references else 1]:
            name = f"{role} of frame {place.display_index}"
            coolchics[role], at = _parse_coolchic(content, at, name, role, place.frame_type)
        frame = FramePart(header, coolchics)
        frames.append(frame)
        _check_frame(frame, frames[0])
    if at < len(content):
        raise BitstreamError(f"{len(content) - at} bytes follow the last frame; it is not a .cool file, or altered")
    return CoolFile(video, tuple(frames))


def _parse_coolchic(content: bytes, start: int, name: str, role: str, frame_type: str) -> tuple[CoolChicPart, int]:
    header, at = read_coolchic_header(content, start, f"header of the {name}", role, frame_type)
    parts = []
    for part, n_bytes in (("parameters", header.n_parameter_bytes), ("latents", header.n_latent_bytes)):
        if n_bytes > len(content) - at:
            raise BitstreamError(
                f"{part} of the {name}: truncated: {n_bytes} bytes by the header; {len(content) - at} are there"
            )
        parts.append(content[at : at + n_bytes])
        at += n_bytes
    parameters, latents = parts
    return CoolChicPart(name, header, parameters, latents), at


def _check_frame(frame: FramePart, first: FramePart) -> None:
    name = f"frame {frame.header.place.display_index}"
    size = first.coolchics[ROLES[0]].header.architecture.img_size
    for coolchic in frame.coolchics.values():
        height, width = coolchic.header.architecture.img_size
        if (height, width) != size:
            raise BitstreamError(
                f"header of the {coolchic.name}: all frames are {size[1]}×{size[0]}; found {width}×{height}"
            )
    found, expected = ((h.frame_data_type, h.bitdepth) for h in (frame.header, first.header))
    if found != expected:
        raise BitstreamError(
            f"header of {name}: all frames are {expected[0]} of {expected[1]} bits; found {found[0]} of {found[1]}"
        )
    if frame.header.place.references and found[0] == "yuv420" and (size[0] % 2 or size[1] % 2):
        raise BitstreamError(f"header of {name}: yuv420 frames with references have even sides; found {size}")


def assemble_cool(file: CoolFile) -> bytes:
    """The bytes of a file; headers are written as short as they can be."""
    parts = [write_video_header(file.header)]
    for frame in file.frames:
        parts.append(write_frame_header(frame.header))
        for coolchic in frame.coolchics.values():
            parts += [write_coolchic_header(coolchic.header), coolchic.parameters, coolchic.latents]
    return b"".join(parts)
