"""The frame encoder of the Cool-Chic family, format ``coolchic-3.4``: one file per network."""

from workers.codec.checkpoint import (
    check_match,
    check_same_format,
    dump_frame_encoder,
    parse_frame_encoder,
    read_frame_encoder,
)
from workers.codec.frame import Frame, Planes
from workers.codec.frame_encoder import (
    KINDS,
    FrameEncoder,
    FrameEncoderManager,
    FrameEncoderOutput,
)
from workers.codec.frame_file import (
    check_suffix,
    check_yuv,
    dump_frame,
    load_frame,
    parse_frame,
    read_frame,
    suffixes_of,
)
from workers.codec.loss import LossFunctionOutput, loss_function, psnr_db
from workers.codec.parameter import (
    ARCHITECTURES,
    MODULES,
    Architecture,
    FrameEncoderParameter,
    SynthesisLayer,
)
from workers.codec.yuv_file import is_yuv

__all__ = [
    "ARCHITECTURES",
    "KINDS",
    "MODULES",
    "Architecture",
    "Frame",
    "FrameEncoder",
    "FrameEncoderManager",
    "FrameEncoderOutput",
    "FrameEncoderParameter",
    "LossFunctionOutput",
    "Planes",
    "SynthesisLayer",
    "check_match",
    "check_same_format",
    "check_suffix",
    "check_yuv",
    "dump_frame",
    "dump_frame_encoder",
    "is_yuv",
    "load_frame",
    "loss_function",
    "parse_frame",
    "parse_frame_encoder",
    "psnr_db",
    "read_frame",
    "read_frame_encoder",
    "suffixes_of",
]
