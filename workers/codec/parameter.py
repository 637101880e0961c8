"""Architecture of a ``coolchic-3.4`` frame encoder: what its metadata says."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, get_args

from workers.candidates import RESIDUE
from workers.codec.coolchic_parameter import MAX_SIDE, CoolChicParameter
from workers.codec.encoder_parameter import EncoderParameter, FrameDataType
from workers.codec.synthesis_layer import MAX_KERNEL, SynthesisLayer
from workers.errors import CheckpointError

RELEASES = ("3.4.1", "4.0.0", "4.1.0", "4.2.1")
"""Official releases that these frame encoders are of. They differ in what they do with grids without features."""

_MAX_GRIDS = 16
_MAX_FEATURES = 64


@dataclass(frozen=True)
class FrameEncoderParameter(EncoderParameter):
    """Architecture of a frame encoder.

    Attributes:
        family_name: of the family that the frame encoder belongs to.
        img_size: height and width of the frame, in luma samples.
        layers_synthesis: the synthesis' convolutions, first to last.
        dim_arm: number of causal neighbours of a latent, and width of the arm's hidden layers.
        n_hidden_layers_arm: hidden layers of the arm; 0 for a linear one.
        n_ft_per_res: features of each of the ``L`` latent grids; grid ``i`` is ``ceil(H/2^i) × ceil(W/2^i)``.
        ups_k_size: even size of the ×2 upsampling kernels.
        ups_preconcat_k_size: odd size of the filters before concatenation.
        encoder_gain: factor of the latents before they are rounded.
        frame_data_type: colour format of the decoded frame.
        bitdepth: bits of a decoded sample.
        release: of Cool-Chic, by which it is computed: one of :data:`RELEASES`.
        n_ft_per_res_cr: channels of common randomness of each resolution, 0 or 1, the finest first.
        frame_display_index: of the frame in its sequence, as files of Cool-Chic 4 say it.
    """

    family_name: ClassVar[str] = "coolchic-3.4"

    img_size: tuple[int, int]
    layers_synthesis: tuple[SynthesisLayer, ...]
    dim_arm: int
    n_hidden_layers_arm: int
    n_ft_per_res: tuple[int, ...] = (1,) * 7
    ups_k_size: int = 8
    ups_preconcat_k_size: int = 7
    encoder_gain: float = 16
    frame_data_type: FrameDataType = "rgb"
    bitdepth: int = 8
    release: str = RELEASES[0]
    n_ft_per_res_cr: tuple[int, ...] = ()
    frame_display_index: int = 0

    def __post_init__(self) -> None:
        rules = [
            (all(1 <= side <= MAX_SIDE for side in self.img_size), f"img_size: sides of 1 to {MAX_SIDE}"),
            (self.dim_arm in self.family.contexts, f"dim_arm: one of {sorted(self.family.contexts)}"),
            (0 <= self.n_hidden_layers_arm <= 16, "n_hidden_layers_arm: 0 to 16"),
            (1 <= self.n_grids <= _MAX_GRIDS, f"n_ft_per_res: 1 to {_MAX_GRIDS} grids"),
            (
                all(0 <= n <= _MAX_FEATURES for n in self.n_ft_per_res),
                f"n_ft_per_res: 0 to {_MAX_FEATURES} features in a grid",
            ),
            (
                max(self.n_ft_per_res[:-1], default=0) <= 1,
                "n_ft_per_res: two features or more in the last grid alone",
            ),
            (
                4 <= self.ups_k_size <= MAX_KERNEL and self.ups_k_size % 2 == 0,
                f"ups_k_size: even, 4 to {MAX_KERNEL}",
            ),
            (
                1 <= self.ups_preconcat_k_size <= MAX_KERNEL and self.ups_preconcat_k_size % 2 == 1,
                f"ups_preconcat_k_size: odd, 1 to {MAX_KERNEL}",
            ),
            (0 < abs(self.encoder_gain) <= 1 << 16, f"encoder_gain: a number other than 0, at most {1 << 16}"),
            (self.frame_data_type in get_args(FrameDataType), "frame_data_type: rgb, yuv444 or yuv420"),
            (8 <= self.bitdepth <= 16, "bitdepth: 8 to 16"),
            (self.release in RELEASES, f"release: one of {', '.join(RELEASES)}"),
            *self._rules_of_release(),
            (bool(self.layers_synthesis), "layers_synthesis: at least one layer"),
        ]
        for holds, rule in rules:
            if not holds:
                raise CheckpointError(f"{rule}; found {getattr(self, rule.partition(':')[0])!r}")
        self._residue  # noqa: B018  # checks its layers

    def _rules_of_release(self) -> list[tuple[bool, str]]:
        """What the official encoder of its release fails on."""
        finer = self.n_ft_per_res[:-1]
        from_first = finer[next((i for i, n in enumerate(finer) if n), len(finer)) :]
        noise = self.n_ft_per_res_cr
        rules = {
            "3.4.1": (all(finer), "n_ft_per_res: only the last grid may be without features in 3.4"),
            "4.0.0": (True, ""),
        }
        later = (all(from_first), "n_ft_per_res: grids without features come first in 4.1 and 4.2, or last")
        return [
            rules.get(self.release, later),
            (
                not noise
                or (self.release == "4.2.1" and len(noise) <= self.n_grids and any(noise) and max(noise) == 1),
                "n_ft_per_res_cr: zeros and ones, not all zero, for no more grids than there are, and in 4.2 alone",
            ),
        ]

    @property
    def n_grids(self) -> int:
        """Number of latent grids ``L``."""
        return len(self.n_ft_per_res)

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
            final_upsampling_type="nearest",
            n_ft_per_res=self.n_ft_per_res,
            n_ft_per_res_cr=self.n_ft_per_res_cr,
            ends_before_empty=self.release not in ("3.4.1", "4.0.0"),
        )

    def to_metadata(self) -> dict[str, str]:
        """Metadata of a checkpoint, all values strings."""
        metadata = {
            "format": self.family_name,
            "img_size": json.dumps(list(self.img_size)),
            "dim_arm": str(self.dim_arm),
            "n_hidden_layers_arm": str(self.n_hidden_layers_arm),
            "layers_synthesis": ",".join(map(str, self.layers_synthesis)),
            "n_ft_per_res": ",".join(map(str, self.n_ft_per_res)),
            "ups_k_size": str(self.ups_k_size),
            "ups_preconcat_k_size": str(self.ups_preconcat_k_size),
            "encoder_gain": str(self.encoder_gain),
            "frame_data_type": self.frame_data_type,
            "bitdepth": str(self.bitdepth),
        }
        if self.release != RELEASES[0]:
            metadata["release"] = self.release
        if self.n_ft_per_res_cr:
            metadata["n_ft_per_res_cr"] = ",".join(map(str, self.n_ft_per_res_cr))
        if self.frame_display_index:
            metadata["frame_display_index"] = str(self.frame_display_index)
        return metadata

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

        def integers(key: str) -> tuple[int, ...]:
            if not re.fullmatch(r"\s*\d{1,4}\s*(,\s*\d{1,4}\s*){0,63}", value(key)):
                raise CheckpointError(
                    f"metadata key {key!r} is a few comma-separated integers; found {value(key)[:80]!r}"
                )
            return tuple(map(int, value(key).split(",")))

        size = re.fullmatch(r"\s*[\[(]\s*(\d{1,9})\s*,\s*(\d{1,9})\s*[\])]\s*", value("img_size"))
        if size is None:
            raise CheckpointError(f"metadata key 'img_size' is '[height, width]'; found {value('img_size')[:80]!r}")
        try:
            layers = tuple(SynthesisLayer.parse(text) for text in value("layers_synthesis").split(","))
        except ValueError as error:
            raise CheckpointError(f"metadata key 'layers_synthesis': {error}") from None
        return cls(
            img_size=(int(size[1]), int(size[2])),
            layers_synthesis=layers,
            dim_arm=integer("dim_arm"),
            n_hidden_layers_arm=integer("n_hidden_layers_arm"),
            n_ft_per_res=integers("n_ft_per_res"),
            ups_k_size=integer("ups_k_size"),
            ups_preconcat_k_size=integer("ups_preconcat_k_size"),
            encoder_gain=_gain(value("encoder_gain")),
            frame_data_type=value("frame_data_type"),  # type: ignore[arg-type]  # checked in __post_init__
            bitdepth=integer("bitdepth"),
            release=metadata.get("release", RELEASES[0])[:80],
            n_ft_per_res_cr=integers("n_ft_per_res_cr") if metadata.get("n_ft_per_res_cr") else (),
            frame_display_index=integer("frame_display_index") if "frame_display_index" in metadata else 0,
        )


def _gain(text: str) -> float:
    """A finite number; whole ones are int, and written as such."""
    try:
        gain = float(text[:80])
    except ValueError:
        gain = math.nan
    if not math.isfinite(gain):
        raise CheckpointError(f"metadata key 'encoder_gain' is a number; found {text[:80]!r}")
    return int(gain) if gain.is_integer() else gain


class Architecture(NamedTuple):
    """A published choice of the arm's and the synthesis' sizes."""

    dim_arm: int
    n_hidden_layers_arm: int
    layers_synthesis: tuple[SynthesisLayer, ...]

    def parameter(
        self,
        img_size: tuple[int, int],
        frame_data_type: FrameDataType,
        bitdepth: int,
        lmbda: float,  # noqa: ARG002
    ) -> FrameEncoderParameter:
        """All sizes of a frame encoder for a frame; the weight of the rate changes none of them."""
        return FrameEncoderParameter(
            img_size,
            self.layers_synthesis,
            self.dim_arm,
            self.n_hidden_layers_arm,
            frame_data_type=frame_data_type,
            bitdepth=bitdepth,
        )


def _layers(text: str) -> tuple[SynthesisLayer, ...]:
    return tuple(SynthesisLayer.parse(layer) for layer in text.split(","))


ARCHITECTURES: Mapping[str, Architecture] = {
    "vlop": Architecture(8, 1, _layers("8-1-linear-relu,3-1-linear-none,3-3-residual-none")),
    "lop": Architecture(8, 2, _layers("16-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none")),
    "mop": Architecture(16, 2, _layers("16-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none")),
    "hop": Architecture(16, 2, _layers("48-1-linear-relu,3-1-linear-none,3-3-residual-relu,3-3-residual-none")),
}
"""Published architectures, by name; all of them use seven latent grids."""
