from .coding import EncodedFrame, decode_frame, decoded_frame, encode_frame, format_of
from .container import SectionBytes
from .limits import MAX_PIXELS

__all__ = [
    "MAX_PIXELS",
    "EncodedFrame",
    "SectionBytes",
    "decode_frame",
    "decoded_frame",
    "encode_frame",
    "format_of",
]
