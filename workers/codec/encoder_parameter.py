"""What every frame encoder's architecture says, whatever its family."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Literal

from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.family import FAMILIES, Family
from workers.codec.network import NetworkSpec

FrameDataType = Literal["rgb", "yuv444", "yuv420"]


class EncoderParameter(ABC):
    """Architecture of a frame encoder.

    Attributes:
        family_name: of the family it belongs to.
        img_size: height and width of the frame, in luma samples.
        frame_data_type: colour format of the decoded frame.
        bitdepth: bits of a decoded sample.
        release: of Cool-Chic, by which it is computed.
    """

    family_name: ClassVar[str]
    img_size: tuple[int, int]
    frame_data_type: FrameDataType
    bitdepth: int
    release: str

    @property
    def family(self) -> Family:
        """The family that the frame encoder belongs to."""
        return FAMILIES[self.family_name]

    @property
    @abstractmethod
    def coolchics(self) -> Mapping[str, CoolChicParameter]:
        """Its cool-chics by name, in the order in which they are swept."""

    @property
    def n_together(self) -> int:
        """Samples of a plane of the frame that one sample of a synthesis stands for, at most."""
        height, width = self.img_size
        coarsest = max(coolchic.resolution_synthesis for coolchic in self.coolchics.values())
        return int(min(4**coarsest, height * width))

    @abstractmethod
    def to_metadata(self) -> dict[str, str]:
        """Metadata of a checkpoint, all values strings."""

    @cached_property
    def networks(self) -> tuple[NetworkSpec, ...]:
        """The networks that are sent, in the order in which they are swept."""
        tensors = self.tensor_shapes()
        return tuple(spec for name in self.coolchics for spec in self.family.specs(name, tensors))

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the state dict."""
        return {
            self.family.prefix(name) + key: shape
            for name, coolchic in self.coolchics.items()
            for key, shape in coolchic.tensor_shapes().items()
        }
