"""Layout of Cool-Chic 5.x, one file per frame: the family ``coolchic-5``."""

import json
import math
from collections.abc import Mapping
from typing import Any

from workers.codec.coolchic_5.parameter import RELEASE
from workers.codec.formats.fields import Fields
from workers.codec.formats.official_frame import OfficialFrame, read_state
from workers.codec.formats.stored import Value
from workers.errors import OfficialFileError

_FORMAT = "coolchic-5"
_COOLCHICS = {"I": ["residue"], "P": ["residue", "motion"], "B": ["residue", "motion"]}
_INTEGERS = (
    "output_feature_ifce",
    "spatial_context_arm",
    "n_hidden_layers_arm",
    "ups_k_size",
    "ups_preconcat_k_size",
)
_FLAGS = ("linear_stabiliser_synth", "linear_stabiliser_arm", "flag_common_randomness")
_RESOLUTIONS = ("latent_resolution", "hyperlatent_resolution", "ifce_resolution")

PARAM = (
    "layers_synthesis",
    "img_size",
    "encoder_gain",
    "final_upsampling_type",
    *_RESOLUTIONS,
    *_INTEGERS,
    *_FLAGS,
)
"""Attributes of an official object that say the architecture of a cool-chic."""

_MAX_RESOLUTION = 16
_MAX_SIDE = 1 << 16


def read_5(file: Fields) -> OfficialFrame:
    """The frame of a file of 5.x; there is no rate constraint in it.

    Raises:
        OfficialFileError: it cannot be used.
    """
    coolchics = file.items("keys_cc_enc", str)
    metadata = metadata_of(file, {name: file.fields(f"{name}_param") for name in coolchics})
    if metadata["frame_type"] != "I":
        metadata["warp_filter_size"] = str(file.fields("warp_parameter").item("filter_size", int))
        for key in ("global_flow_1", "global_flow_2")[: 1 if metadata["frame_type"] == "P" else 2]:
            metadata[key] = json.dumps(_flow(file, key))
    return OfficialFrame(metadata, {f"{name}.": read_state(file, name, name) for name in coolchics})


def metadata_of(frame: Fields, params: Mapping[str, Fields]) -> dict[str, str]:
    """Metadata of a checkpoint, without ``lmbda`` and, for P and B frames, what is said of their references.

    Args:
        frame: its type, format and place in the sequence.
        params: architecture of each cool-chic.

    Raises:
        OfficialFileError: they do not fit each other.
    """
    frame_type = frame.item("frame_type", str)
    if _COOLCHICS.get(frame_type) != list(params):
        raise OfficialFileError(
            f"a frame of type I has a residue, one of type P or B a residue and a motion; found type "
            f"{frame_type[:20]!r} with {len(params)} cool-chics"
        )
    own = {name: _param(param) for name, param in params.items()}
    sizes = [param["img_size"] for param in own.values()]
    if any(size != sizes[0] for size in sizes):
        raise OfficialFileError(f"the cool-chics of a frame are of one size; found {sizes}")
    return {
        "format": _FORMAT,
        "release": RELEASE,
        "img_size": json.dumps(sizes[0]),
        "frame_type": frame_type,
        "frame_data_type": frame.item("frame_data_type", str),
        "bitdepth": str(frame.item("bitdepth", int)),
        "coolchics": json.dumps(list(params)),
        "index_references": json.dumps(frame.items("index_references", int)),
        "frame_display_index": str(frame.item("frame_display_index", int)),
    } | {f"{name}.param": json.dumps(param) for name, param in own.items()}


def _flow(file: Fields, key: str) -> list[float]:
    tensor = file.tensor(key)
    if tensor.shape != (1, 2, 1, 1):
        raise OfficialFileError(f"{key} is a tensor of shape [1, 2, 1, 1]; found {list(tensor.shape)}")
    flow: list[float] = tensor.read().flatten().tolist()
    if not all(map(math.isfinite, flow)):
        raise OfficialFileError(f"{key} is finite; found {flow}")
    return flow


def _param(param: Fields) -> dict[str, Any]:
    """Architecture of a cool-chic, as the metadata of a checkpoint say it."""
    size = param.items("img_size", int)
    if len(size) != 2 or not all(1 <= side <= _MAX_SIDE for side in size):
        raise OfficialFileError(f"{param.where}: img_size is two sides of 1 to {_MAX_SIDE}; found {size[:4]}")
    gain = param.number("encoder_gain")
    own: dict[str, Any] = {
        "layers_synthesis": param.items("layers_synthesis", str),
        "img_size": size,
        "encoder_gain": int(gain) if gain.is_integer() else gain,
        "final_upsampling_type": param.item("final_upsampling_type", str),
        "latent_resolution": _range(param, "latent_resolution"),
    }
    own |= {key: _range(param, key) if key in param else None for key in _RESOLUTIONS[1:]}
    own |= {key: param.item(key, int) for key in _INTEGERS} | {key: param.item(key, bool) for key in _FLAGS}
    _check_derived(param, own)
    return own


def _range(param: Fields, key: str) -> list[int]:
    low_high = param.items(key, int)
    if len(low_high) != 2 or not 0 <= low_high[0] <= low_high[1] <= _MAX_RESOLUTION:
        raise OfficialFileError(
            f"{param.where}: {key} is two resolutions from 0 to {_MAX_RESOLUTION}; found {low_high[:4]}"
        )
    return low_high


def _check_derived(param: Fields, own: dict[str, Any]) -> None:
    """Refuse attributes that do not follow from the others, as they must."""
    for key, expected in derived(own).items():
        if key in param and not _equal(param.value(key), expected):
            raise OfficialFileError(
                f"{param.where}: {key} does not follow from the other attributes: {str(expected)[:200]} is expected"
            )


def derived(own: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that follow from the others of a cool-chic.

    Args:
        own: the others, as in the metadata of a checkpoint.
    """
    height, width = own["img_size"]
    latent, hyper, ifce = (own[f"{kind}_resolution"] for kind in ("latent", "hyperlatent", "ifce"))
    grids = [
        (resolution, is_hyper)
        for resolution in range(_MAX_RESOLUTION + 1)
        for is_hyper, of_kind in ((False, latent), (True, hyper))
        if of_kind is not None and of_kind[0] <= resolution <= of_kind[1]
    ]
    sizes = [(1, 1, math.ceil(height / 2**r), math.ceil(width / 2**r)) for r, _ in grids]
    inputs = [
        max(len(grids) - 1 - i, 1)
        if ifce is not None and ifce[0] <= math.ceil(math.log2(height / h)) <= ifce[1]
        else 0
        for i, (_, _, h, _) in enumerate(sizes)
    ]
    n_latents = latent[1] - latent[0] + 1
    return {
        "flag_ifce": ifce is not None,
        "flag_hyperlatent": hyper is not None,
        "n_latent_grids": len(grids),
        "size_per_latent": sizes,
        "flag_is_hyperlatent": [is_hyper for _, is_hyper in grids],
        "input_features_ifce": inputs,
        "total_context_arm": own["spatial_context_arm"] + own["output_feature_ifce"],
        "input_feature_synthesis": n_latents * (2 if own["flag_common_randomness"] else 1),
    }


def _equal(value: Value, expected: Any) -> bool:
    """Whether a value is what is expected, item by item, never deeper than that."""
    if isinstance(expected, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(expected):
            return False
        return all(map(_equal, value, expected))
    return type(value) is type(expected) and value == expected
