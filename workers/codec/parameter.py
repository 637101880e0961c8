"""Architecture of a frame encoder: what its metadata says, and the tensor shapes that follow from it."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple, get_args

from workers.candidates import RESIDUE
from workers.codec.family import FAMILIES, Family
from workers.codec.network import NetworkSpec
from workers.errors import CheckpointError

FrameDataType = Literal["rgb", "yuv444", "yuv420"]

CONTEXT_INDICES: Mapping[int, tuple[int, ...]] = {
    8: (13, 22, 30, 31, 32, 37, 38, 39),
    16: (13, 14, *range(20, 25), *range(28, 34), 37, 38, 39),
    24: (4, *range(11, 16), *range(19, 26), *range(28, 35), *range(36, 40)),
    32: (*range(2, 6), *range(10, 17), *range(19, 27), *range(27, 36), *range(36, 40)),
}
"""Per ``dim_arm``: flat indices, in a 9×9 window whose centre is 40, of a latent's causal neighbours."""

_MAX_SIDE = 1 << 16
_MAX_CHANNELS = 1024
_MAX_KERNEL = 31


class SynthesisLayer(NamedTuple):
    """One convolution of the synthesis, written ``<out>-<k>-<linear|residual>-<relu|none>``."""

    out_channels: int
    kernel_size: int
    residual: bool
    relu: bool

    @classmethod
    def parse(cls, text: str) -> "SynthesisLayer":
        """Read one layer.

        Raises:
            ValueError: it is not written as above, with an odd kernel.
        """
        match = re.fullmatch(r"(\d{1,4})-(\d{1,2})-(linear|residual)-(relu|none)", text.strip())
        if match is None:
            raise ValueError(f"a layer is written <out>-<k>-<linear|residual>-<relu|none>, found {text!r}")
        out_channels, kernel_size = int(match[1]), int(match[2])
        if not 1 <= out_channels <= _MAX_CHANNELS:
            raise ValueError(f"a layer has 1 to {_MAX_CHANNELS} output channels, found {text!r}")
        if kernel_size % 2 == 0 or kernel_size > _MAX_KERNEL:
            raise ValueError(f"a kernel is odd and at most {_MAX_KERNEL}, found {text!r}")
        return cls(out_channels, kernel_size, match[3] == "residual", match[4] == "relu")

    def __str__(self) -> str:
        kind = "residual" if self.residual else "linear"
        return f"{self.out_channels}-{self.kernel_size}-{kind}-{'relu' if self.relu else 'none'}"


@dataclass(frozen=True)
class FrameEncoderParameter:
    """Architecture of a frame encoder.

    Attributes:
        family_name: of the family that the frame encoder belongs to.
        img_size: height and width of the frame, in luma samples.
        layers_synthesis: the synthesis' convolutions, first to last.
        dim_arm: number of causal neighbours of a latent, and width of the arm's hidden layers.
        n_hidden_layers_arm: hidden layers of the arm; 0 for a linear one.
        n_grids: number of latent grids ``L``; grid ``i`` is ``ceil(H/2^i) × ceil(W/2^i)``.
        ups_k_size: even size of the ×2 upsampling kernels.
        ups_preconcat_k_size: odd size of the filters before concatenation.
        encoder_gain: factor of the latents before they are rounded.
        frame_data_type: colour format of the decoded frame.
        bitdepth: bits of a decoded sample.
    """

    family_name: ClassVar[str] = "coolchic-3.4"

    img_size: tuple[int, int]
    layers_synthesis: tuple[SynthesisLayer, ...]
    dim_arm: int
    n_hidden_layers_arm: int
    n_grids: int = 7
    ups_k_size: int = 8
    ups_preconcat_k_size: int = 7
    encoder_gain: int = 16
    frame_data_type: FrameDataType = "rgb"
    bitdepth: int = 8

    def __post_init__(self) -> None:
        rules = [
            (all(1 <= side <= _MAX_SIDE for side in self.img_size), f"img_size: sides of 1 to {_MAX_SIDE}"),
            (self.dim_arm in CONTEXT_INDICES, f"dim_arm: one of {sorted(CONTEXT_INDICES)}"),
            (0 <= self.n_hidden_layers_arm <= 16, "n_hidden_layers_arm: 0 to 16"),
            (1 <= self.n_grids <= 16, "n_ft_per_res: 1 to 16 grids"),
            (
                4 <= self.ups_k_size <= _MAX_KERNEL and self.ups_k_size % 2 == 0,
                f"ups_k_size: even, 4 to {_MAX_KERNEL}",
            ),
            (
                1 <= self.ups_preconcat_k_size <= _MAX_KERNEL and self.ups_preconcat_k_size % 2 == 1,
                f"ups_preconcat_k_size: odd, 1 to {_MAX_KERNEL}",
            ),
            (1 <= self.encoder_gain <= 1 << 16, f"encoder_gain: 1 to {1 << 16}"),
            (self.frame_data_type in get_args(FrameDataType), "frame_data_type: rgb, yuv444 or yuv420"),
            (self.bitdepth in (8, 10), "bitdepth: 8 or 10"),
            (bool(self.layers_synthesis), "layers_synthesis: at least one layer"),
        ]
        for holds, rule in rules:
            if not holds:
                found = {name: getattr(self, name) for name in (rule.partition(":")[0],) if hasattr(self, name)}
                raise CheckpointError(f"{rule}; found {next(iter(found.values()), self.n_grids)!r}")
        channels = self.n_grids
        for layer in self.layers_synthesis:
            if layer.residual and layer.out_channels != channels:
                raise CheckpointError(
                    f"layers_synthesis: a residual layer keeps its {channels} channels; found {str(layer)!r}"
                )
            channels = layer.out_channels
        if channels != 3:
            raise CheckpointError(f"layers_synthesis: the last layer has 3 channels; found {channels}")

    @property
    def grid_sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each latent grid, full resolution first."""
        height, width = self.img_size
        return tuple((math.ceil(height / 2**i), math.ceil(width / 2**i)) for i in range(self.n_grids))

    @property
    def family(self) -> Family:
        """The family that the frame encoder belongs to."""
        return FAMILIES[self.family_name]

    @cached_property
    def networks(self) -> tuple[NetworkSpec, ...]:
        """The networks that are sent, in the order in which they are swept."""
        return self.family.specs(RESIDUE, self.tensor_shapes())

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the state dict."""
        shapes: dict[str, tuple[int, ...]] = {
            f"latent_grids.{i}": (1, 1, h, w) for i, (h, w) in enumerate(self.grid_sizes)
        }
        for j in range(self.n_hidden_layers_arm + 1):
            out = self.dim_arm if j < self.n_hidden_layers_arm else 2
            shapes[f"arm.mlp.{2 * j}.weight"] = (out, self.dim_arm)
            shapes[f"arm.mlp.{2 * j}.bias"] = (out,)
        for j in range(self.n_grids - 1):
            for name, k_size in (
                ("conv_transpose2ds", self.ups_k_size),
                ("conv2ds", self.ups_preconcat_k_size),
            ):
                shapes[f"upsampling.{name}.{j}.parametrizations.weight.original"] = ((k_size + 1) // 2,)
                shapes[f"upsampling.{name}.{j}.bias"] = (1,)
        channels = self.n_grids
        for j, layer in enumerate(self.layers_synthesis):
            k = layer.kernel_size
            shapes[f"synthesis.layers.{2 * j}.weight"] = (layer.out_channels, channels, k, k)
            shapes[f"synthesis.layers.{2 * j}.bias"] = (layer.out_channels,)
            channels = layer.out_channels
        return shapes

    def to_metadata(self) -> dict[str, str]:
        """Metadata of a checkpoint, all values strings."""
        return {
            "format": self.family_name,
            "img_size": json.dumps(list(self.img_size)),
            "dim_arm": str(self.dim_arm),
            "n_hidden_layers_arm": str(self.n_hidden_layers_arm),
            "layers_synthesis": ",".join(map(str, self.layers_synthesis)),
            "n_ft_per_res": ",".join(["1"] * self.n_grids),
            "ups_k_size": str(self.ups_k_size),
            "ups_preconcat_k_size": str(self.ups_preconcat_k_size),
            "encoder_gain": str(self.encoder_gain),
            "frame_data_type": self.frame_data_type,
            "bitdepth": str(self.bitdepth),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "FrameEncoderParameter":
        """Read the metadata of a checkpoint, its ``format`` aside.

        Raises:
            CheckpointError: a key is missing, or its value is not what the format allows.
        """

        def value(key: str) -> str:
            if key not in metadata:
                raise CheckpointError(f"metadata key {key!r} is missing; found {sorted(metadata)}")
            return metadata[key]

        def integer(key: str) -> int:
            text = value(key).strip()
            if not re.fullmatch(r"\d{1,9}", text):
                raise CheckpointError(f"metadata key {key!r} is an integer; found {text[:80]!r}")
            return int(text)

        size = re.fullmatch(r"\s*[\[(]\s*(\d{1,9})\s*,\s*(\d{1,9})\s*[\])]\s*", value("img_size"))
        if size is None:
            raise CheckpointError(f"metadata key 'img_size' is '[height, width]'; found {value('img_size')[:80]!r}")
        features = [entry.strip() for entry in value("n_ft_per_res").split(",")]
        if any(entry != "1" for entry in features):
            raise CheckpointError(
                "metadata key 'n_ft_per_res': only one feature per resolution is supported, "
                f"every entry must be 1; found {value('n_ft_per_res')[:80]!r}"
            )
        try:
            layers = tuple(SynthesisLayer.parse(text) for text in value("layers_synthesis").split(","))
        except ValueError as error:
            raise CheckpointError(f"metadata key 'layers_synthesis': {error}") from None
        return cls(
            img_size=(int(size[1]), int(size[2])),
            layers_synthesis=layers,
            dim_arm=integer("dim_arm"),
            n_hidden_layers_arm=integer("n_hidden_layers_arm"),
            n_grids=len(features),
            ups_k_size=integer("ups_k_size"),
            ups_preconcat_k_size=integer("ups_preconcat_k_size"),
            encoder_gain=integer("encoder_gain"),
            frame_data_type=value("frame_data_type"),  # type: ignore[arg-type]  # checked in __post_init__
            bitdepth=integer("bitdepth"),
        )


class Architecture(NamedTuple):
    """A published choice of the arm's and the synthesis' sizes."""

    dim_arm: int
    n_hidden_layers_arm: int
    layers_synthesis: tuple[SynthesisLayer, ...]


def _layers(text: str) -> tuple[SynthesisLayer, ...]:
    return tuple(SynthesisLayer.parse(layer) for layer in text.split(","))


ARCHITECTURES: Mapping[str, Architecture] = {
    "vlop": Architecture(8, 1, _layers("8-1-linear-relu,3-1-linear-none,3-3-residual-none")),
    "lop": Architecture(8, 2, _layers("16-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none")),
    "mop": Architecture(16, 2, _layers("16-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none")),
    "hop": Architecture(16, 2, _layers("48-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none")),
}
"""Published architectures, by name; all of them use seven latent grids."""
