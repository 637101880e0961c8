"""``.qsw`` among the formats of bitstreams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.bitstream.limits import MAX_PIXELS

if TYPE_CHECKING:
    import torch

    from workers.bitstream.coding import EncodedFrame
    from workers.bitstream.decoded_picture import DecodedPicture
    from workers.codec import Frame, FrameEncoder
    from workers.codec.encoder_parameter import EncoderParameter


class _Qsw:
    """See :class:`~workers.bitstream.formats.BitstreamFormat`. All that its methods import loads torch."""

    name = "qsw"
    suffix = ".qsw"

    def recognizes(self, content: bytes, name: str) -> bool:  # noqa: ARG002  # the format has a magic number
        return content.startswith(b"qsw")

    def unencodable(self, param: EncoderParameter) -> str | None:
        from workers.bitstream.coding import unencodable

        return unencodable(param)

    def encode(self, frame_encoder: FrameEncoder, device: str | torch.device = "cpu") -> EncodedFrame:
        from workers.bitstream.coding import encode_frame

        return encode_frame(frame_encoder, device)

    def rate_of_grids(self, frame_encoder: FrameEncoder) -> tuple[float, ...]:
        import torch

        with torch.inference_mode():
            return tuple(grid.sum(dtype=torch.float64).item() for grid in frame_encoder.rate_of_grids())

    def decoded_frame(self, frame_encoder: FrameEncoder, device: str | torch.device = "cpu") -> Frame:
        from workers.bitstream.coding import decoded_frame

        return decoded_frame(frame_encoder, device)

    def frame_format(self, content: bytes) -> tuple[str, int]:
        from workers.bitstream.coding import format_of

        return format_of(content)

    def decode(
        self, content: bytes, device: str | torch.device | None = None, *, max_pixels: int = MAX_PIXELS
    ) -> DecodedPicture:
        from workers.bitstream.coding import decode_frame
        from workers.bitstream.decoded_picture import samples_of
        from workers.device import usual_device

        frame = decode_frame(content, usual_device() if device is None else device, max_pixels=max_pixels)
        return samples_of(frame)

    def read_encoder(self, content: bytes, *, max_pixels: int = MAX_PIXELS) -> FrameEncoder:
        from workers.bitstream.qsw_content import read_encoder

        return read_encoder(content, max_pixels)

    def describe(self, content: bytes, *, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
        from workers.bitstream.qsw_content import describe_qsw

        return describe_qsw(content, max_pixels)


QSW = _Qsw()
