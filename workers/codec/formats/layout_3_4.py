"""Layouts of Cool-Chic 3.4 (one file for all frames) and 4.x (one file per frame): the family ``coolchic-3.4``."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from workers.codec.formats.fields import Fields
from workers.codec.formats.official_frame import OfficialFrame, read_state
from workers.codec.formats.stored import BytesFile, Value, kind_of
from workers.codec.formats.torch_file import read_torch_file
from workers.errors import OfficialFileError

_FORMAT = "coolchic-3.4"
_INTEGERS = ("dim_arm", "n_hidden_layers_arm", "ups_k_size", "ups_preconcat_k_size")

PARAM = (
    *("img_size", "layers_synthesis", "n_ft_per_res", "latent_n_grids", "encoder_gain", *_INTEGERS),
    *("common_randomness", "n_ft_per_res_cr"),
)
"""Attributes of an official object that say the architecture."""


def read_3_4(file: Fields, encoder_frame: int | None) -> OfficialFrame:
    """One frame of a file of 3.4.

    Args:
        file: its content.
        encoder_frame: display index of the frame; ``None`` for the only one.

    Raises:
        OfficialFileError: there is no such frame, or it cannot be used.
    """
    coded = find_frame(file, encoder_frame)
    manager, name = Fields.of(coded.manager, "the frame's manager"), f"frame {coded.display_index}"
    try:
        frame = Fields.of(read_torch_file(coded.content), name)
    except OfficialFileError as error:
        raise OfficialFileError(f"{name}, a file within the file: {error.reason}") from None
    if frame.item("frame_type", str) != "I":
        raise OfficialFileError(
            f"{name} is of type {frame.item('frame_type', str)[:20]!r}: of Cool-Chic 3.4, I frames "
            "are supported (it does nothing with the references of others)"
        )
    return _frame(frame, "coolchic_encoder", "coolchic", "coolchic_encoder_param", "3.4.1", manager)


class CodedFrame(NamedTuple):
    """A frame in a file of 3.4.

    Attributes:
        key: among the frame encoders: its coding order.
        display_index: of the frame.
        content: the file within the file.
        manager: of the frame.
    """

    key: str
    display_index: int
    content: bytes
    manager: Value


def find_frame(file: Fields, encoder_frame: int | None) -> CodedFrame:
    """A frame in a file of 3.4.

    Args:
        file: its content.
        encoder_frame: display index of the frame; ``None`` for the only one.

    Raises:
        OfficialFileError: there is no such frame.
    """
    encoders, coded = file.fields("all_frame_encoders"), coded_frames(file)
    listed = "display indices " + ", ".join(map(str, sorted(coded)[:50])) if coded else "none that is coded"
    if encoder_frame is None:
        if len(coded) != 1:
            raise OfficialFileError(f"it holds {len(coded)} frames: choose one by encoder_frame; found {listed}")
        (encoder_frame,) = coded
    if encoder_frame not in coded:
        raise OfficialFileError(f"there is no frame of encoder_frame {encoder_frame}; found {listed}")
    inner, manager = _entry(encoders.value(coded[encoder_frame]))
    return CodedFrame(coded[encoder_frame], encoder_frame, inner, manager)


def coded_frames(file: Fields) -> dict[int, str]:
    """Display indices of the frames that are in a file of 3.4, with their keys among the frame encoders."""
    encoders = file.fields("all_frame_encoders")
    return {display: key for key, display in _frames(file) if key in encoders}


def _frames(file: Fields) -> Iterator[tuple[str, int]]:
    """Coding order, as a text, and display index of each frame."""
    frames = file.fields("coding_structure").value("frames")
    if not isinstance(frames, list):
        raise OfficialFileError(f"the frames of the coding structure are a list; found {kind_of(frames)}")
    for value in frames:
        frame = Fields.of(value, "a frame of the coding structure")
        yield str(frame.item("coding_order", int)), frame.item("display_order", int)


def _entry(value: Value) -> tuple[bytes, Value]:
    """A frame encoder as a file within the file, and its manager."""
    if not isinstance(value, tuple) or len(value) != 2:
        raise OfficialFileError(f"a frame is a frame encoder and its manager; found {kind_of(value)}")
    inner, manager = value
    if not isinstance(inner, BytesFile) or inner.encoded is None:
        raise OfficialFileError(f"a frame encoder is a file within the file; found {kind_of(inner)}")
    return inner.encoded.content(), manager


def read_4(file: Fields) -> OfficialFrame:
    """The frame of a file of 4.x.

    Raises:
        OfficialFileError: it cannot be used.
    """
    frame_type, keys = file.item("frame_type", str), file.items("keys_cc_enc", str)
    if frame_type != "I" or keys != ["residue"]:
        raise OfficialFileError(
            f"its frame is of type {frame_type[:20]!r}: of Cool-Chic 4, I frames are supported, not those that are "
            "predicted from other frames"
        )
    param = file.fields("residue_param")
    release = release_of_4(param, has_warp="warp_parameter" in file)
    manager = file.fields("frame_encoder_manager")
    if "dist_weight" in manager:
        check_dist_weight(manager.fields("dist_weight"))
    frame = _frame(file, "residue", "residue", "residue_param", release, manager)
    place = {"frame_display_index": str(file.item("frame_display_index", int))}
    return replace(frame, metadata=frame.metadata | place)


def release_of_4(param: Fields, *, has_warp: bool) -> str:
    """Which release of 4 a frame encoder is of, by its architecture and by whether frames are warped by filters."""
    return "4.2.1" if "n_ft_per_res_cr" in param else "4.1.0" if has_warp else "4.0.0"


def check_dist_weight(weights: Fields) -> None:
    """Refuse what was trained for another distance than the mean squared error.

    Raises:
        OfficialFileError: it was.
    """
    if list(weights) != ["mse"] or weights.number("mse") != 1:
        raise OfficialFileError(
            "it was trained for a perceptual distance (dist_weight is not {'mse': 1.0}): Wasserstein distances "
            "of VGG16 features are not supported"
        )


def _frame(file: Fields, now: str, name: str, param: str, release: str, manager: Fields) -> OfficialFrame:
    metadata = metadata_of(file, file.fields(param), release) | {"lmbda": repr(manager.number("lmbda"))}
    return OfficialFrame(metadata, {"": read_state(file, now, name)})


def metadata_of(frame: Fields, param: Fields, release: str) -> dict[str, str]:
    """Metadata of a checkpoint, without ``lmbda``.

    Args:
        frame: format of the decoded frame.
        param: architecture.
        release: of Cool-Chic.
    """
    features = param.items("n_ft_per_res", int)
    if param.item("latent_n_grids", int) != len(features):
        raise OfficialFileError(
            f"{param.where}: latent_n_grids is {param.item('latent_n_grids', int)}, but n_ft_per_res has "
            f"{len(features)} entries"
        )
    metadata = {
        "format": _FORMAT,
        "release": release,
        "frame_data_type": frame.item("frame_data_type", str),
        "bitdepth": str(frame.item("bitdepth", int)),
        "img_size": json.dumps(param.items("img_size", int)),
        "layers_synthesis": ",".join(param.items("layers_synthesis", str)),
        "n_ft_per_res": ",".join(map(str, features)),
        "encoder_gain": repr(param.number("encoder_gain")).removesuffix(".0"),
    }
    for key in _INTEGERS:
        metadata[key] = str(param.item(key, int))
    if "common_randomness" in param and param.item("common_randomness", bool):
        metadata["n_ft_per_res_cr"] = ",".join(map(str, param.items("n_ft_per_res_cr", int)))
    return metadata
