"""Architecture of a ``coolchic-5`` frame encoder: what its metadata says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, get_args

from workers.candidates import RESIDUE
from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.encoder_parameter import EncoderParameter, FrameDataType
from workers.codec.family import FAMILIES
from workers.codec.synthesis_layer import SynthesisLayer
from workers.errors import CheckpointError

RELEASE = "5.0.1"
"""The official release that these frame encoders are of."""

_FRAME_TYPES = ("I", "P", "B")
_MAX_INDEX = 1 << 31

_OWN_FIELDS = {
    *("family", "output_transform", "n_ups_kernels", "n_outputs"),
    *("n_ft_per_res", "n_ft_per_res_cr", "ends_before_empty"),
}
"""Fields of :class:`CoolChicParameter` that follow from the family and from others, or that this family lacks."""

_STORED = tuple(field.name for field in fields(CoolChicParameter) if field.name not in _OWN_FIELDS)


@dataclass(frozen=True)
class Coolchic5Parameter(EncoderParameter):
    """Architecture of a frame encoder of Cool-Chic 5.

    Attributes:
        residue: sizes of the cool-chic that is the picture.
        frame_data_type: colour format of the decoded frame.
        bitdepth: bits of a decoded sample.
        frame_display_index: of the frame in its sequence.
    """

    family_name: ClassVar[str] = "coolchic-5"

    residue: CoolChicParameter
    frame_data_type: FrameDataType = "rgb"
    bitdepth: int = 8
    frame_display_index: int = 0

    def __post_init__(self) -> None:
        if self.frame_data_type not in get_args(FrameDataType):
            raise CheckpointError(f"frame_data_type: rgb, yuv444 or yuv420; found {self.frame_data_type!r}")
        if not 8 <= self.bitdepth <= 16:
            raise CheckpointError(f"bitdepth: 8 to 16; found {self.bitdepth}")

    @property
    def img_size(self) -> tuple[int, int]:  # type: ignore[override]  # the residue says it
        """Height and width of the frame, in luma samples."""
        return self.residue.img_size

    @property
    def release(self) -> str:  # type: ignore[override]  # there is one
        """The official release that it is of."""
        return RELEASE

    @cached_property
    def coolchics(self) -> Mapping[str, CoolChicParameter]:
        """The residue alone: frames with references have another."""
        return {RESIDUE: self.residue}

    def to_metadata(self) -> dict[str, str]:
        """Metadata of a checkpoint, all values strings."""
        metadata = {
            "format": self.family_name,
            "img_size": json.dumps(list(self.img_size)),
            "frame_type": "I",
            "frame_data_type": self.frame_data_type,
            "bitdepth": str(self.bitdepth),
            "coolchics": json.dumps(list(self.coolchics)),
            "index_references": "[]",
            "frame_display_index": str(self.frame_display_index),
        }
        for name, coolchic in self.coolchics.items():
            values = {field: getattr(coolchic, field) for field in _STORED}
            values["layers_synthesis"] = [str(layer) for layer in coolchic.layers_synthesis]
            metadata[f"{name}.param"] = json.dumps(values)
        return metadata

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Coolchic5Parameter":
        """Read the metadata of a checkpoint.

        Raises:
            CheckpointError: a key is missing, its value is not what the format allows, or the frame is one of those
                with references.
        """
        if metadata.get("release", RELEASE) != RELEASE:
            raise CheckpointError(f"metadata key 'release' is {RELEASE}; found {metadata['release'][:80]!r}")
        frame_type = _value(metadata, "frame_type")
        if frame_type not in _FRAME_TYPES:
            raise CheckpointError(f"metadata key 'frame_type' is I, P or B; found {frame_type[:80]!r}")
        if frame_type != "I":
            raise CheckpointError(
                f"metadata key 'frame_type' is {frame_type!r}: frames with references cannot be measured yet"
            )
        coolchics = _json(metadata, "coolchics")
        if coolchics != [RESIDUE]:
            raise CheckpointError(f"metadata key 'coolchics' is [{RESIDUE!r}] for an I frame; found {coolchics!r}")
        img_size = _sizes("img_size", _json(metadata, "img_size"))
        residue = coolchic_of(_json(metadata, f"{RESIDUE}.param"), f"{RESIDUE}.param", n_outputs=3)
        if residue.img_size != img_size:
            raise CheckpointError(
                f"metadata key 'img_size' is {list(img_size)}; "
                f"that of '{RESIDUE}.param' is {list(residue.img_size)}"
            )
        return cls(
            residue,
            _value(metadata, "frame_data_type"),  # type: ignore[arg-type]  # checked in __post_init__
            _integer("bitdepth", _json(metadata, "bitdepth")),
            _integer("frame_display_index", _json(metadata, "frame_display_index")),
        )


def coolchic_of(content: Any, key: str, *, n_outputs: int) -> CoolChicParameter:
    """Sizes of a cool-chic, from its JSON object in the metadata.

    Args:
        content: the object.
        key: where it stands, for messages.
        n_outputs: channels that the frame takes of it.

    Raises:
        CheckpointError: a field is missing, unknown or not what the format allows.
    """
    if not isinstance(content, dict):
        raise CheckpointError(f"metadata key {key!r} is a JSON object; found {str(content)[:80]!r}")
    if missing := [name for name in _STORED if name not in content]:
        raise CheckpointError(f"metadata key {key!r} has no {', '.join(missing)}")
    if unknown := sorted(content.keys() - set(_STORED)):
        raise CheckpointError(f"metadata key {key!r} has fields that are not known: {', '.join(unknown)[:200]}")
    values: dict[str, Any] = {}
    try:
        for name in _STORED:
            values[name] = _FIELDS.get(name, _integer)(name, content[name])
        return CoolChicParameter(
            **values,
            family=FAMILIES[Coolchic5Parameter.family_name],
            output_transform=True,
            n_ups_kernels=values["latent_resolution"][1],
            n_outputs=n_outputs,
        )
    except CheckpointError as error:
        raise CheckpointError(f"metadata key {key!r}: {error}") from None


def _layers(name: str, value: Any) -> tuple[SynthesisLayer, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise CheckpointError(f"{name}: a list of layers; found {str(value)[:80]!r}")
    try:
        return tuple(SynthesisLayer.parse(text) for text in value)
    except ValueError as error:
        raise CheckpointError(f"{name}: {error}") from None


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise CheckpointError(f"{name}: true or false; found {str(value)[:80]!r}")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise CheckpointError(f"{name}: a text; found {str(value)[:80]!r}")
    return value


def _integer(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_INDEX:
        raise CheckpointError(f"{name}: an integer that is not negative; found {str(value)[:80]!r}")
    return value


def _sizes(name: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise CheckpointError(f"{name}: two integers; found {str(value)[:80]!r}")
    first, second = (_integer(name, number) for number in value)
    return first, second


def _range(name: str, value: Any) -> tuple[int, int] | None:
    return None if value is None else _sizes(name, value)


_FIELDS = {
    "img_size": _sizes,
    "layers_synthesis": _layers,
    "latent_resolution": _sizes,
    "hyperlatent_resolution": _range,
    "ifce_resolution": _range,
    "linear_stabiliser_arm": _flag,
    "linear_stabiliser_synth": _flag,
    "flag_common_randomness": _flag,
    "final_upsampling_type": _text,
}
"""How fields are read that are no plain integers."""


def _value(metadata: Mapping[str, str], key: str) -> str:
    if key not in metadata:
        raise CheckpointError(f"metadata key {key!r} is missing; found {sorted(metadata)}")
    return metadata[key]


def _json(metadata: Mapping[str, str], key: str) -> Any:
    text = _value(metadata, key)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise CheckpointError(f"metadata key {key!r} is JSON; found {text[:80]!r}") from None
