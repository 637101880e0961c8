"""A plugin: a family of frame encoders with a network more than Cool-Chic 3.4 has, that tints the picture."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from workers.codec import (
    Effect,
    FrameEncoder,
    FrameEncoderParameter,
    Planes,
    dump_frame_encoder,
    read_frame_encoder,
)
from workers.codec.family import FAMILIES, NetworkRule

NAME = "toy"
OF_FORMAT = FAMILIES["coolchic-3.4"]


@dataclass(frozen=True)
class ToyParameter(FrameEncoderParameter):
    """The architecture of Cool-Chic 3.4, and a convolution 1×1 behind it."""

    family_name = NAME

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        return super().tensor_shapes() | {"tint.weight": (3, 3, 1, 1), "tint.bias": (3,)}


class ToyEncoder(FrameEncoder):
    """A frame encoder whose picture is tinted."""

    def __init__(self, param: FrameEncoderParameter) -> None:
        super().__init__(param)
        self.tint = nn.Conv2d(3, 3, 1)

    def decode(self, latents: list[Tensor]) -> Planes:
        image = self.tint(self.synthesis(self.upsampling(latents)))
        planes = Planes.from_444(image, self.param.frame_data_type, self.family.chroma).clamp()
        return planes if self.training else planes.round(self.param.bitdepth)


def read_metadata(metadata: Mapping[str, str]) -> FrameEncoderParameter:
    return ToyParameter.from_metadata(metadata)


FAMILIES.register(
    NAME,
    replace(
        OF_FORMAT,
        name=NAME,
        networks={
            **OF_FORMAT.networks,
            "tint": NetworkRule(
                Effect.PICTURE, {"weight": (0.25, 0.5, 1.0), "bias": (0.5, 1.0)}, reads=("synthesis",)
            ),
        },
        read_metadata=read_metadata,
        assemble=ToyEncoder,
        bitstream=False,
    ),
)


def write_encoder(of: Path, target: Path) -> None:
    """Make an encoder of this family of one of Cool-Chic 3.4: its tint is a little off nothing."""
    frame_encoder, manager = read_frame_encoder(of)
    toy = ToyEncoder(read_metadata(frame_encoder.param.to_metadata()))
    toy.load_state_dict(frame_encoder.state_dict(), strict=False)
    with torch.no_grad():
        toy.tint.weight.copy_(torch.eye(3)[..., None, None] + 0.1)
        nn.init.constant_(toy.get_parameter("tint.bias"), -0.1)
    target.write_bytes(dump_frame_encoder(toy, manager.lmbda))
