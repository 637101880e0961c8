from .checkpoint import (
    check_match,
    check_same_format,
    dump_frame_encoder,
    parse_frame_encoder,
    read_frame_encoder,
)
from .checkpoint_header import FITTED_FRAME, checkpoint_metadata
from .coolchic_parameter import CoolChicParameter
from .encoder_parameter import EncoderParameter
from .frame import Frame, Planes
from .frame_encoder import (
    FrameEncoder,
    FrameEncoderManager,
    FrameEncoderOutput,
)
from .frame_file import (
    check_yuv,
    dump_frame,
    load_frame,
    parse_frame,
    read_frame,
    read_frame_digest,
)
from .network import Effect, NetworkSpec
from .parameter import (
    ARCHITECTURES,
    Architecture,
    FrameEncoderParameter,
)
from .sample_file import check_suffix, dump_samples, suffixes_of
from .synthesis_layer import SynthesisLayer
from .yuv_file import is_yuv

__all__ = [
    "ARCHITECTURES",
    "FITTED_FRAME",
    "Architecture",
    "CoolChicParameter",
    "Effect",
    "EncoderParameter",
    "Frame",
    "FrameEncoder",
    "FrameEncoderManager",
    "FrameEncoderOutput",
    "FrameEncoderParameter",
    "NetworkSpec",
    "Planes",
    "SynthesisLayer",
    "check_match",
    "check_same_format",
    "check_suffix",
    "check_yuv",
    "checkpoint_metadata",
    "dump_frame",
    "dump_frame_encoder",
    "dump_samples",
    "is_yuv",
    "load_frame",
    "parse_frame",
    "parse_frame_encoder",
    "read_frame",
    "read_frame_digest",
    "read_frame_encoder",
    "suffixes_of",
]
