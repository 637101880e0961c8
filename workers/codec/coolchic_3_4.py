"""The family ``coolchic-3.4``: encoders of Cool-Chic 3.4."""

import math

from workers.codec.coolchic_parameter import ARM, SYNTHESIS, UPSAMPLING
from workers.codec.family import Chroma, ExpGolombRule, Family, NetworkRule
from workers.codec.network import Effect, powers_of_two
from workers.codec.parameter import ARCHITECTURES, FrameEncoderParameter

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
    contexts={
        8: (13, 22, 30, 31, 32, 37, 38, 39),
        16: (13, 14, *range(20, 25), *range(28, 34), 37, 38, 39),
        24: (4, *range(11, 16), *range(19, 26), *range(28, 35), *range(36, 40)),
        32: (*range(2, 6), *range(10, 17), *range(19, 27), *range(27, 36), *range(36, 40)),
    },
    least_log_scale=-4.6,
    synthesis_layers="layers",
    prefixed=False,
    chroma=Chroma.EVEN,
    loss_limit=math.inf,
    plain_threads=2,
    read_metadata=FrameEncoderParameter.from_metadata,
    bitstream=True,
    architectures=ARCHITECTURES,
)
