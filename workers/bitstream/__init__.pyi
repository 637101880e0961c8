from .coding import EncodedFrame, check_encodable, decode_frame, decoded_frame, encode_frame, format_of, unencodable
from .limits import MAX_PIXELS
from .sections import SectionBytes

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
