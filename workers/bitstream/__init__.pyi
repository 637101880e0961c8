from .coding import EncodedFrame, check_encodable, decode_frame, decoded_frame, encode_frame, format_of, unencodable
from .container import SectionBytes
from .limits import MAX_PIXELS

__all__ = [
    "MAX_PIXELS",
    "EncodedFrame",
    "SectionBytes",
    "check_encodable",
    "decode_frame",
    "decoded_frame",
    "encode_frame",
    "format_of",
    "unencodable",
]
