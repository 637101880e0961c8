"""Checkpoints: a frame encoder as a safetensors file, or as Cool-Chic's own encoder saves it."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from workers.candidates import KINDS
from workers.codec.checkpoint_header import FITTED_FRAME, FITTED_MSE, checkpoint_metadata
from workers.codec.encoder_parameter import EncoderParameter
from workers.codec.family import FAMILIES, Family
from workers.codec.formats.official import ZIP, read_official, read_official_frames
from workers.codec.formats.official_frame import OfficialFrame
from workers.codec.frame import Frame
from workers.codec.frame_encoder import FrameEncoder, FrameEncoderManager
from workers.errors import CheckpointError, MismatchError, OfficialFileError
from workers.files import Fingerprint, describe, digest_of, file_stamp, read_bytes
from workers.reasons import reason_of

_PICKLE = b"\x80"


def read_frame_encoder(
    location: str | Path, encoder_frame: int | None = None, lmbda: float | None = None
) -> tuple[FrameEncoder, FrameEncoderManager]:
    """Read a checkpoint file, at a path or URI.

    Args and errors are those of :func:`parse_frame_encoder`.

    Raises:
        CheckpointError: it cannot be read, or :func:`parse_frame_encoder` cannot use it.
    """
    name = describe(str(location))
    content, file = _read(location)
    frame_encoder, manager = parse_frame_encoder(content, name, encoder_frame, lmbda)
    return frame_encoder, replace(manager, file=file)


def _read(location: str | Path) -> tuple[bytes, Fingerprint]:
    try:
        stamp = file_stamp(location)  # before it is read: a file that is replaced meanwhile has another one
        content = read_bytes(location)
    except (OSError, ValueError) as error:
        name = describe(str(location))
        raise CheckpointError(f"{name}: the frame encoder cannot be read: {reason_of(error)}") from None
    return content, Fingerprint(stamp, digest_of(content))


def parse_frame_encoder(
    content: bytes, name: str, encoder_frame: int | None = None, lmbda: float | None = None
) -> tuple[FrameEncoder, FrameEncoderManager]:
    """Frame encoder of a checkpoint's bytes, in evaluation mode, with the rate constraint it was fitted for.

    Args:
        content: a safetensors file; or a file of Cool-Chic's own encoder, of which the full-precision parameters
            are taken. Nothing in it is ever executed.
        name: the file's name, for messages.
        encoder_frame: display index of the frame in a checkpoint of several; ``None`` for the only one.
        lmbda: rate constraint where the file holds none.

    Raises:
        OfficialFileError: it is a file of Cool-Chic's own encoder, and cannot be used.
        CheckpointError: it is no checkpoint, or its metadata, tensor names, shapes, types or values are wrong or do
            not fit each other.
    """
    with _errors_of(content, name):
        if is_official(content):
            official = read_official(content, encoder_frame)
            metadata, tensors = official.metadata, official.tensors()
        else:
            metadata, tensors = _read_safetensors(content, encoder_frame)
        if "lmbda" not in metadata and lmbda is not None:
            metadata = {**metadata, "lmbda": repr(lmbda)}
        return build_frame_encoder(metadata, tensors)


def read_parameter(path: str, encoder_frame: int | None = None) -> EncoderParameter:
    """Architecture of the frame encoder in a checkpoint on this machine: quickly, of a safetensors file.

    Args:
        path: of the file.
        encoder_frame: see :func:`parse_frame_encoder`.

    Raises:
        CheckpointError: it is no checkpoint, or its metadata are wrong.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        if is_official(start := file.read(16)):
            metadata = read_official(start + file.read(), encoder_frame).metadata
        else:
            try:
                with safetensors.safe_open(path, "pt") as opened:
                    metadata = opened.metadata() or {}
            except Exception as error:  # the library raises several unrelated types
                raise CheckpointError(f"{path}: no safetensors file: {reason_of(error)}") from None
    return _family(metadata).read_metadata(metadata)


class Checkpoint(NamedTuple):
    """All that a checkpoint holds.

    Attributes:
        frame_encoder: as it is in the file: quantized, with steps and counts, if it was swept.
        full_precision: what a sweep starts from; ``None`` if the file does not hold it.
        lmbda: weight of the rate; ``None`` if the file does not say it.
        is_official: whether it is a file of Cool-Chic's own encoder.
    """

    frame_encoder: FrameEncoder
    full_precision: FrameEncoder | None
    lmbda: float | None
    is_official: bool


def read_checkpoint(location: str | Path, encoder_frame: int | None = None) -> Checkpoint:
    """Read all that a checkpoint file holds, at a path or URI; see :func:`parse_checkpoint`.

    Raises:
        CheckpointError: it cannot be read, or used.
    """
    content, _ = _read(location)
    return parse_checkpoint(content, describe(str(location)), encoder_frame)


def parse_checkpoint(content: bytes, name: str, encoder_frame: int | None = None) -> Checkpoint:
    """All that a checkpoint's bytes hold, also where there is nothing to be swept, or no rate constraint.

    Args and errors are those of :func:`parse_frame_encoder`.
    """
    with _errors_of(content, name):
        if is_official(content):
            return _of_official(read_official(content, encoder_frame))
        metadata, tensors = _read_safetensors(content, encoder_frame)
        frame_encoder, manager = build_frame_encoder({"lmbda": "0", **metadata}, tensors)
    full_precision = None if frame_encoder.nn_q_step else frame_encoder
    return Checkpoint(frame_encoder, full_precision, manager.lmbda if "lmbda" in metadata else None, False)


def parse_checkpoints(content: bytes, name: str) -> Iterator[tuple[int, Checkpoint | CheckpointError]]:
    """All frames of a checkpoint of Cool-Chic's own encoder, in order of display.

    Args:
        content: its bytes; nothing in it is ever executed.
        name: of the file, for messages.

    Yields:
        Display index, and what is known of the frame: why it cannot be used, if it cannot.

    Raises:
        OfficialFileError: it is none, or damaged, or holds no frame.
    """
    with _errors_of(content, name):
        for index, official in read_official_frames(content):
            try:
                if isinstance(official, OfficialFileError):
                    raise official
                yield index, _of_official(official)
            except CheckpointError as error:
                yield index, error


def _of_official(official: OfficialFrame) -> Checkpoint:
    metadata = official.metadata | official.quantization()
    frame_encoder, manager = build_frame_encoder({"lmbda": "0", **metadata}, official.current_tensors())
    full_precision = None if frame_encoder.nn_q_step else frame_encoder
    if all(state.full_precision is not None for state in official.states.values()):
        full_precision, _ = build_frame_encoder({"lmbda": "0", **official.metadata}, official.tensors())
    return Checkpoint(frame_encoder, full_precision, manager.lmbda if "lmbda" in metadata else None, True)


@contextmanager
def _errors_of(content: bytes, name: str) -> Iterator[None]:
    """Errors that name the file, and what kind of file it is."""
    try:
        yield
    except CheckpointError as error:
        if is_official(content):
            raise OfficialFileError(str(error), name) from None
        raise CheckpointError(f"{name}: {error}") from None


def is_official(content: bytes) -> bool:
    """Whether a checkpoint is taken for one of Cool-Chic's own encoder, by its beginning."""
    return content.startswith(ZIP) or _is_pickle(content)


def _is_pickle(content: bytes) -> bool:
    """Whether these bytes are a pickle. The length that a safetensors file begins with may begin as one does."""
    return content.startswith(_PICKLE) and content[8:9] != b"{"


def _read_safetensors(content: bytes, encoder_frame: int | None) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file."""
    if not content:
        raise CheckpointError("the frame encoder's file is empty")
    try:
        tensors = safetensors.torch.load(content)
    except Exception as error:  # the library raises several unrelated types
        raise CheckpointError(
            f"a frame encoder is a safetensors file, or one of Cool-Chic's own; found: {reason_of(error)}"
        ) from None
    metadata = checkpoint_metadata(content)
    _check_frame(metadata, encoder_frame)
    return metadata, tensors


def _check_frame(metadata: Mapping[str, str], encoder_frame: int | None) -> None:
    index = metadata.get("frame_display_index", "0")
    if encoder_frame is not None and str(encoder_frame) != index:
        raise CheckpointError(f"it holds frame {index[:20]} alone; found encoder_frame {encoder_frame}")


def build_frame_encoder(
    metadata: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> tuple[FrameEncoder, FrameEncoderManager]:
    """Frame encoder of the metadata and the tensors of a checkpoint, in evaluation mode; see
    :func:`parse_frame_encoder`.

    Raises:
        CheckpointError: metadata, tensor names, shapes, types or values are wrong or do not fit each other.
    """
    # Everything is compared before anything is allocated for it.
    family = _family(metadata)
    param = family.read_metadata(metadata)
    shapes = param.tensor_shapes()
    if missing := sorted(shapes.keys() - tensors.keys()):
        raise CheckpointError(f"tensors are missing for this architecture: {_few(missing)}")
    if unknown := sorted(tensors.keys() - shapes.keys()):
        raise CheckpointError(f"tensors that this architecture does not have: {_few(unknown)}")
    for key, shape in shapes.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"tensor {key!r} has shape {list(shape)} for this metadata; found {list(tensor.shape)}"
            )
        if tensor.dtype != torch.float32:
            raise CheckpointError(f"tensor {key!r} is float32; found {tensor.dtype}")
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"tensor {key!r} has values that are NaN or infinite")

    frame_encoder = family.assemble(param)
    frame_encoder.load_state_dict(tensors)
    frame_encoder.eval()
    for name in (spec.prefix for spec in frame_encoder.networks):
        if any(key.startswith((f"q_step.{name}.", f"expgol_cnt.{name}.")) for key in metadata):
            steps, counts = _quantization(metadata, name)
            frame_encoder.nn_q_step[name] = dict(zip(KINDS, steps, strict=True))
            frame_encoder.nn_expgol_cnt[name] = dict(zip(KINDS, counts, strict=True))
    if "lmbda" not in metadata:
        raise CheckpointError(
            "metadata key 'lmbda' is missing, as in files of Cool-Chic 5: give the weight of the rate, by "
            "--lmbda, or in a job by lmbda or fit.lmbda"
        )
    manager = FrameEncoderManager(
        _number(metadata, "lmbda"), fitted_mse=_fitted_mse(metadata), fitted_frame=metadata.get(FITTED_FRAME)
    )
    return frame_encoder, manager


def _family(metadata: Mapping[str, str]) -> Family:
    """The family of a checkpoint."""
    if "format" not in metadata:
        raise CheckpointError(f"metadata key 'format' is missing; found {sorted(metadata)}")
    if metadata["format"] not in FAMILIES:
        accepted = " or ".join(map(repr, FAMILIES))
        raise CheckpointError(f"metadata key 'format' is {accepted}; found {metadata['format'][:80]!r}")
    return FAMILIES[metadata["format"]]


def _quantization(metadata: Mapping[str, str], network: str) -> tuple[list[float], list[int]]:
    """Steps and counts of a network that has been quantized."""
    keys = [f"{name}.{network}.{kind}" for name in ("q_step", "expgol_cnt") for kind in KINDS]
    try:
        values = [metadata[key] for key in keys]
        steps, counts = [float(value) for value in values[:2]], [int(value) for value in values[2:]]
        if not all(0 < step < math.inf for step in steps) or not all(0 <= count < 64 for count in counts):
            raise ValueError
    except (KeyError, ValueError):
        found = {key: metadata.get(key) for key in keys}
        raise CheckpointError(
            f"metadata of {network}: once quantized, two positive steps and two counts; found {found}"
        ) from None
    return steps, counts


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f", … ({len(names)} in all)" if len(names) > 4 else "")


def _fitted_mse(metadata: Mapping[str, str]) -> float | None:
    return _number(metadata, FITTED_MSE) if FITTED_MSE in metadata else None


def _number(metadata: Mapping[str, str], key: str) -> float:
    try:
        number = float(metadata[key])
    except (KeyError, ValueError):
        found = metadata.get(key, "nothing")
        raise CheckpointError(f"metadata key {key!r} is a number; found {found!r}") from None
    if not (math.isfinite(number) and number >= 0):
        raise CheckpointError(f"metadata key {key!r} is finite and not negative; found {number}")
    return number


def dump_frame_encoder(
    frame_encoder: FrameEncoder,
    lmbda: float | None,
    fitted_mse: float | None = None,
    fitted_frame: str | None = None,
) -> bytes:
    """Checkpoint of a frame encoder, as the bytes of a safetensors file.

    Without ``lmbda``, a job has to give a weight of the rate.

    The metadata hold ``fitted_mse``, if it is given: the mean squared error of the frame encoder as it is, by which
    an encoder of another picture can be told later; and ``fitted_frame``, the digest of the file of that picture.

    For every network that has been quantized the metadata also hold ``q_step.<prefix>.<weight|bias>`` and
    ``expgol_cnt.<prefix>.<weight|bias>``.
    """
    metadata = frame_encoder.param.to_metadata() | ({} if lmbda is None else {"lmbda": repr(lmbda)})
    if fitted_mse is not None:
        metadata |= {FITTED_MSE: repr(fitted_mse)}
    if fitted_frame is not None:
        metadata |= {FITTED_FRAME: fitted_frame}
    for name, values in (
        ("q_step", frame_encoder.nn_q_step),
        ("expgol_cnt", frame_encoder.nn_expgol_cnt),
    ):
        for network, of_kind in values.items():
            metadata |= {f"{name}.{network}.{kind}": repr(value) for kind, value in of_kind.items()}
    tensors = {key: value.detach().cpu().contiguous() for key, value in frame_encoder.state_dict().items()}
    return safetensors.torch.save(tensors, metadata)


def check_match(frame: Frame, frame_encoder: FrameEncoder) -> None:
    """Refuse a frame encoder that was fitted for a frame of another size or format.

    Raises:
        MismatchError: size, colour format or bit depth differ.
    """
    param = frame_encoder.param
    of_encoder = _format(*param.img_size, param.frame_data_type, param.bitdepth)
    of_frame = _format(*frame.img_size, frame.frame_data_type, frame.bitdepth)
    if of_frame != of_encoder:
        raise MismatchError(f"the frame encoder is for a frame of {of_encoder}; the frame is {of_frame}")
    if param.frame_data_type == "yuv420":
        wanted = param.family.chroma.size(*param.img_size)
        height, width = frame.data.tensors[1].shape[-2:]
        if (height, width) != wanted:
            raise MismatchError(
                f"chroma of an encoder of {param.family.name} has {wanted[1]}×{wanted[0]} samples in a frame of "
                f"{of_encoder}; the frame's has {width}×{height}"
            )


def check_same_format(frame: Frame, decoded: Frame) -> None:
    """Refuse to compare frames of different sizes or formats.

    Raises:
        MismatchError: size, colour format or bit depth differ.
    """
    formats = [_format(*each.img_size, each.frame_data_type, each.bitdepth) for each in (frame, decoded)]
    if formats[0] != formats[1]:
        raise MismatchError(f"the decoded frame is {formats[1]}; the frame is {formats[0]}")


def _format(height: int, width: int, frame_data_type: str, bitdepth: int) -> str:
    return f"{width}×{height} {frame_data_type} {bitdepth} bits"
