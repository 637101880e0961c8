"""Bitstreams: a frame encoder as the bytes of a file, and back as the samples of a frame, the same everywhere."""

from workers.bitstream.coding import MAX_PIXELS, EncodedFrame, decode_frame, decoded_frame, encode_frame, format_of
from workers.bitstream.container import SectionBytes

__all__ = [
    "MAX_PIXELS",
    "EncodedFrame",
    "SectionBytes",
    "decode_frame",
    "decoded_frame",
    "encode_frame",
    "format_of",
]
