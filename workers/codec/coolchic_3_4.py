"""The family ``coolchic-3.4``: encoders of Cool-Chic 3.4."""

from typing import TYPE_CHECKING

from workers.codec.family import ExpGolombRule, Family, NetworkRule
from workers.codec.network import Effect, powers_of_two
from workers.codec.parameter import FrameEncoderParameter

if TYPE_CHECKING:
    from workers.codec.frame_encoder import FrameEncoder

ARM, SYNTHESIS, UPSAMPLING = "arm", "synthesis", "upsampling"
"""Its networks, also what the names of their tensors begin with."""


def _assemble(param: FrameEncoderParameter) -> "FrameEncoder":
    from workers.codec.frame_encoder import FrameEncoder  # loads torch

    return FrameEncoder(param)


COOLCHIC_3_4 = Family(
    name="coolchic-3.4",
    exp_golomb=ExpGolombRule(scale=1, constant=1),
    networks={
        ARM: NetworkRule(Effect.RATE, {"weight": powers_of_two(-8, 0), "bias": powers_of_two(-16, 0)}),
        SYNTHESIS: NetworkRule(
            Effect.PICTURE,
            {"weight": powers_of_two(-12, 0), "bias": powers_of_two(-24, 0)},
            reads=(UPSAMPLING,),
        ),
        UPSAMPLING: NetworkRule(
            Effect.PICTURE,
            {"weight": powers_of_two(-12, 0), "bias": powers_of_two(0, 0)},
            ignored=frozenset({"bias"}),
        ),
    },
    read_metadata=FrameEncoderParameter.from_metadata,
    assemble=_assemble,
    bitstream=True,
)
