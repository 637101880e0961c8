"""Architecture of a ``coolchic-3.4`` frame encoder: what its metadata says."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, get_args

from workers.candidates import RESIDUE
from workers.codec.coolchic_parameter import MAX_KERNEL, MAX_SIDE, CoolChicParameter, SynthesisLayer
from workers.codec.encoder_parameter import EncoderParameter, FrameDataType
from workers.errors import CheckpointError


@dataclass(frozen=True)
class FrameEncoderParameter(EncoderParameter):
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
            (all(1 <= side <= MAX_SIDE for side in self.img_size), f"img_size: sides of 1 to {MAX_SIDE}"),
            (self.dim_arm in self.family.contexts, f"dim_arm: one of {sorted(self.family.contexts)}"),
            (0 <= self.n_hidden_layers_arm <= 16, "n_hidden_layers_arm: 0 to 16"),
            (1 <= self.n_grids <= 16, "n_ft_per_res: 1 to 16 grids"),
            (
                4 <= self.ups_k_size <= MAX_KERNEL and self.ups_k_size % 2 == 0,
                f"ups_k_size: even, 4 to {MAX_KERNEL}",
            ),
            (
                1 <= self.ups_preconcat_k_size <= MAX_KERNEL and self.ups_preconcat_k_size % 2 == 1,
                f"ups_preconcat_k_size: odd, 1 to {MAX_KERNEL}",
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
        self._residue  # noqa: B018  # checks its layers

    @property
    def grid_sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each latent grid, full resolution first."""
        return self._residue.grid_sizes

    @property
    def coolchics(self) -> Mapping[str, CoolChicParameter]:
        """The only one, the picture itself."""
        return {RESIDUE: self._residue}

    @cached_property
    def _residue(self) -> CoolChicParameter:
        return CoolChicParameter(
            family=self.family,
            img_size=self.img_size,
            layers_synthesis=self.layers_synthesis,
            latent_resolution=(0, self.n_grids - 1),
            spatial_context_arm=self.dim_arm,
            n_hidden_layers_arm=self.n_hidden_layers_arm,
            n_ups_kernels=self.n_grids - 1,
            ups_k_size=self.ups_k_size,
            ups_preconcat_k_size=self.ups_preconcat_k_size,
            encoder_gain=self.encoder_gain,
        )

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
