"""Formats of bitstreams: what a job, the commands and the report need of one, whichever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from workers.bitstream.limits import MAX_PIXELS
from workers.errors import InputError
from workers.registry import Registry

if TYPE_CHECKING:
    import torch

    from workers.bitstream.coding import EncodedFrame
    from workers.bitstream.decoded_picture import DecodedPicture
    from workers.codec import Frame, FrameEncoder
    from workers.codec.encoder_parameter import EncoderParameter


class BitstreamFormat(Protocol):
    """A format. Modules that define one load neither torch nor a kernel before they are asked for work.

    Attributes:
        name: in the configuration, and of the registry.
        suffix: of its files.
    """

    name: str
    suffix: str

    def recognizes(self, content: bytes, name: str) -> bool:
        """Whether a file is taken for one of this format, by its content or its name."""

    def unencodable(self, param: EncoderParameter) -> str | None:
        """Why a file cannot hold a frame encoder, and what can; ``None`` if it can."""

    def encode(self, frame_encoder: FrameEncoder, device: str | torch.device = "cpu") -> EncodedFrame:
        """A file of a frame encoder whose networks have all been quantized, and the frame that it decodes to.

        Args:
            frame_encoder: it is not changed.
            device: where the frame is reconstructed.

        Raises:
            InputError: a file cannot hold it; the message says why.
        """

    def rate_of_grids(self, frame_encoder: FrameEncoder) -> tuple[float, ...]:
        """Bits of the latents of each grid of a quantized frame encoder, the finest one first, as they are coded.

        Raises:
            InputError: a file cannot hold it.
        """

    def decoded_frame(self, frame_encoder: FrameEncoder, device: str | torch.device = "cpu") -> Frame:
        """The frame that a decoder makes of the file of a quantized frame encoder, without the file.

        Raises:
            InputError: a file cannot hold it.
        """

    def frame_format(self, content: bytes) -> tuple[str, int]:
        """``frame_data_type`` and bit depth of the frame that a file holds, from its header alone.

        Raises:
            BitstreamError: it is no file of this format, truncated or altered.
        """

    def decode(
        self, content: bytes, device: str | torch.device | None = None, *, max_pixels: int = MAX_PIXELS
    ) -> DecodedPicture:
        """The samples that a file holds. Time and memory are bounded by the frame's size, whatever the file says.

        Args:
            content: the file; it may be anything.
            device: where the frame is reconstructed; ``None`` for the GPU, if there is one.
            max_pixels: luma samples of the largest frame that is accepted.

        Raises:
            BitstreamError: it is no file of this format, truncated, altered, or larger than is accepted.
        """

    def read_encoder(self, content: bytes, *, max_pixels: int = MAX_PIXELS) -> FrameEncoder:
        """A frame encoder with the integers, steps and counts of a file: written again, it gives the same bytes.

        Args and errors are those of :meth:`decode`.
        """

    def describe(self, content: bytes, *, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
        """What is in a file, as plain data; units are in the names.

        Args and errors are those of :meth:`decode`.
        """


FORMATS: Registry[BitstreamFormat] = Registry(
    "bitstream format",
    {"qsw": "workers.bitstream.qsw_format:QSW", "cool": "workers.bitstream.cool.cool_format:COOL"},
)
"""Formats by name; plugins add to them."""

DEFAULT_FORMAT = "qsw"
"""What is written where no other format is asked for, and what a file is taken for that no other one recognizes."""


def format_of_content(content: bytes, name: str) -> BitstreamFormat:
    """The format that a file is read as.

    Args:
        content: of the file.
        name: of the file.
    """
    return FORMATS[recognized(content, name) or DEFAULT_FORMAT]


def recognized(content: bytes, name: str) -> str | None:
    """Name of the format that a file is of; ``None`` if it is of none."""
    return next((format_name for format_name in FORMATS if FORMATS[format_name].recognizes(content, name)), None)


def format_of_suffix(name: str) -> BitstreamFormat | None:
    """The format of a file that is to be written, by its suffix; ``None`` if it is that of no format."""
    found = (FORMATS[format_name] for format_name in FORMATS)
    return next((each for each in found if name.lower().endswith(each.suffix)), None)


def check_encodable(bitstream: BitstreamFormat, param: EncoderParameter) -> None:
    """Refuse a frame encoder that a file of a format cannot hold.

    Raises:
        InputError: with the reason.
    """
    if (reason := bitstream.unencodable(param)) is not None:
        raise InputError(reason)


def check_decodes(bitstream: BitstreamFormat, encoded: EncodedFrame, device: str | torch.device = "cpu") -> None:
    """Check that a file decodes to the frame that it was made of, before it leaves this place.

    Args:
        bitstream: format of the file.
        encoded: the file and the frame.
        device: where the frame is reconstructed.

    Raises:
        RuntimeError: it does not.
    """
    from workers.bitstream.decoded_picture import samples_of

    written = samples_of(encoded.frame)
    height, width = written.img_size
    decoded = bitstream.decode(encoded.content, device, max_pixels=height * width)
    for ours, theirs in zip(written.planes, decoded.planes, strict=True):
        if not (ours == theirs).all():
            raise RuntimeError("the bitstream decodes to other samples than it was made of")
