"""``.cool`` among the formats of bitstreams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.bitstream.cool.coding import decode_cool, read_cool
from workers.bitstream.cool.description import describe_cool
from workers.bitstream.cool.file import is_cool, parse_cool
from workers.bitstream.cool.rules import unencodable
from workers.bitstream.limits import MAX_PIXELS

if TYPE_CHECKING:
    import torch

    from workers.bitstream.coding import EncodedFrame
    from workers.bitstream.decoded_picture import DecodedPicture
    from workers.codec import Frame, FrameEncoder
    from workers.codec.encoder_parameter import EncoderParameter


class _Cool:
    """See :class:`~workers.bitstream.formats.BitstreamFormat`. Frames are reconstructed on the CPU alone."""

    name = "cool"
    suffix = ".cool"

    def recognizes(self, content: bytes, name: str) -> bool:
        return is_cool(content, name)

    def unencodable(self, param: EncoderParameter) -> str | None:
        return unencodable(param)

    def encode(self, frame_encoder: FrameEncoder, device: str | torch.device = "cpu") -> EncodedFrame:  # noqa: ARG002
        from workers.bitstream.cool.encoder import encode_cool  # loads torch, as what follows does

        return encode_cool(frame_encoder)

    def rate_of_grids(self, frame_encoder: FrameEncoder) -> tuple[float, ...]:
        from workers.bitstream.cool.encoder import rate_of_grids

        return rate_of_grids(frame_encoder)

    def decoded_frame(self, frame_encoder: FrameEncoder, device: str | torch.device = "cpu") -> Frame:  # noqa: ARG002
        from workers.bitstream.cool.encoder import decoded_frame

        return decoded_frame(frame_encoder)

    def frame_format(self, content: bytes) -> tuple[str, int]:
        header = parse_cool(content).frames[0].header
        return header.frame_data_type, header.bitdepth

    def decode(
        self,
        content: bytes,
        device: str | torch.device | None = None,  # noqa: ARG002
        *,
        max_pixels: int = MAX_PIXELS,
    ) -> DecodedPicture:
        return decode_cool(content, max_pixels=max_pixels)

    def read_encoder(self, content: bytes, *, max_pixels: int = MAX_PIXELS) -> FrameEncoder:
        from workers.bitstream.cool.encoder import frame_encoder_of

        return frame_encoder_of(read_cool(content, max_pixels=max_pixels))

    def describe(self, content: bytes, *, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
        return describe_cool(content, max_pixels)


COOL = _Cool()
