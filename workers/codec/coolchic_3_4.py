"""The family ``coolchic-3.4``: encoders of Cool-Chic 3.4."""

from workers.codec.family import ExpGolombRule, Family, NetworkRule
from workers.codec.network import Effect, powers_of_two

ARM, SYNTHESIS, UPSAMPLING = "arm", "synthesis", "upsampling"
"""Its networks, also what the names of their tensors begin with."""

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
)
