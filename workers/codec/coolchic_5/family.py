"""What is fixed for all encoders of Cool-Chic 5.0.1."""

from collections.abc import Mapping

from workers.candidates import Kind
from workers.codec.coolchic_5.architectures import ARCHITECTURES
from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.codec.coolchic_parameter import ARM, IFCE, SYNTHESIS, UPSAMPLING
from workers.codec.family import Chroma, ExpGolombRule, Family, NetworkRule
from workers.codec.network import Effect, powers_of_two

# fmt: off
_PRIORITY = (
    39, 31, 30, 32, 38, 22, 13, 37, 29, 23, 21, 33, 20, 28, 24, 14, 36, 34, 19, 25,
    12, 11, 15, 4, 27, 3, 35, 26, 10, 16, 2, 5, 18, 9, 17, 1, 6, 7, 0, 8,
)
# fmt: on

_RATE_STEPS: Mapping[Kind, tuple[float, ...]] = {"weight": powers_of_two(-8, 0), "bias": powers_of_two(-16, 0)}

COOLCHIC_5 = Family(
    name=Coolchic5Parameter.family_name,
    exp_golomb=ExpGolombRule(scale=2, constant=0),
    networks={
        ARM: NetworkRule(Effect.RATE, _RATE_STEPS, reads=(IFCE,)),
        IFCE: NetworkRule(Effect.RATE, _RATE_STEPS, optional=True, linear=True),
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
    contexts={n: _PRIORITY[:n] for n in range(1, len(_PRIORITY) + 1)},
    least_log_scale=-5.0,
    synthesis_layers="main_branch",
    prefixed=True,
    chroma=Chroma.MEAN,
    loss_limit=1e6,
    plain_threads=1,
    read_metadata=Coolchic5Parameter.from_metadata,
    bitstream=True,
    architectures=ARCHITECTURES,
    untrained=("synthesis.output_transform.",),
)
