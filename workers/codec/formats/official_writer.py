"""A swept frame encoder as a file of Cool-Chic's own encoder, which resumes from it by writing the bitstream.

What the file of its origin says beside the parameters is kept; an encoder of another origin gets a plain frame
around it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from workers.candidates import KINDS
from workers.codec.coolchic_5.parameter import RELEASE as RELEASE_5
from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.codec.encoder_parameter import EncoderParameter
from workers.codec.formats import layout_3_4, official_template
from workers.codec.formats.fields import Fields
from workers.codec.formats.stored import BytesFile, EncodedText, InertObject, StateDict, Value, store
from workers.codec.formats.torch_file import read_torch_file, write_torch_file
from workers.codec.frame_encoder import FrameEncoder
from workers.codec.parameter import RELEASES, FrameEncoderParameter
from workers.errors import CheckpointError

_ORDER = ("latent_grids", "arm", "upsampling", "synthesis", "ifce")
"""Of the parameters in official files."""

_DESCRIBED = ("arm", "ifce", "upsampling", "synthesis")
"""Modules of which files of 5.x say steps and counts."""

_MAX_MOVE = 32
"""Steps by which a refined parameter is away from where it was rounded from, at most."""


@dataclass(frozen=True)
class SweptEncoder:
    """A frame encoder after its sweep, with what it was before.

    Attributes:
        full_precision: as the sweep began.
        quantized: with its networks quantized, and their steps and counts.
        lmbda: weight of the rate.
        name: of the picture, where a file of several frames names its sequence.
    """

    full_precision: FrameEncoder
    quantized: FrameEncoder
    lmbda: float
    name: str = "frame"

    def check(self) -> None:
        """Refuse two frame encoders of which one is not the other, quantized.

        Raises:
            CheckpointError: the architectures differ, a network is not quantized, or its parameters are none that
                come from those in full precision.
        """
        if self.full_precision.param != self.quantized.param:
            raise CheckpointError("it is not the encoder that was swept: the architecture is another")
        for spec in self.quantized.networks:
            if spec.prefix not in self.quantized.nn_q_step:
                raise CheckpointError(f"the network {spec.id} is not quantized")
            before, after = (each.get_network_parameters(spec.id) for each in (self.full_precision, self.quantized))
            for kind in KINDS:
                step = self.quantized.nn_q_step[spec.prefix][kind]
                moves = [((before[name] - after[name]).abs() / step).max().item() for name in spec.names(kind)]
                if max(moves, default=0.0) > _MAX_MOVE:
                    raise CheckpointError(
                        f"it is not the encoder that was swept, or has changed since: {kind} parameters of "
                        f"{spec.id} differ by up to {max(moves):.0f} steps"
                    )


def with_release(param: EncoderParameter, release: str | None) -> EncoderParameter:
    """An architecture as one of another release.

    Args:
        param: the architecture.
        release: of Cool-Chic; ``None`` for its own.

    Raises:
        CheckpointError: the release is not known, or cannot hold it, or computes something else.
    """
    if release is None or release == param.release:
        return param
    if release not in (*RELEASES, RELEASE_5):
        raise CheckpointError(f"release: one of {', '.join((*RELEASES, RELEASE_5))}; found {release[:80]!r}")
    if not isinstance(param, FrameEncoderParameter) or release == RELEASE_5:
        raise CheckpointError(f"release: an encoder of {param.release} cannot be one of {release}")
    changed = replace(param, release=release)
    if changed.coolchics["residue"].resolution_synthesis != param.coolchics["residue"].resolution_synthesis:
        raise CheckpointError(
            f"release: {release} computes another picture than {param.release} where the finest grids are empty"
        )
    return changed


def dump_official(
    swept: SweptEncoder, release: str | None = None, origin: bytes | None = None, encoder_frame: int | None = None
) -> bytes:
    """The bytes of an official file.

    Args:
        swept: the frame encoder; :meth:`SweptEncoder.check` has been called.
        release: in whose layout it is written; ``None`` for its own.
        origin: the official file that the frame encoder was read from, if it was; its other content is kept where
            the release is the same.
        encoder_frame: display index of the frame in it; ``None`` for the only one.

    Raises:
        CheckpointError: the release cannot hold it; or the file of its origin is not what it was.
    """
    param = with_release(swept.quantized.param, release)
    same = origin is not None and param == swept.quantized.param
    kept = read_torch_file(origin) if same and origin is not None else None
    if isinstance(param, Coolchic5Parameter):
        file = official_template.template_5(param) if kept is None else _dict(kept)
        _put_state(file, "residue", "residue", swept, as_objects=True)
        return write_torch_file(file, f"{param.frame_display_index:04d}-frame_encoder")
    assert isinstance(param, FrameEncoderParameter)
    if param.release == "3.4.1":
        return _dump_3_4(param, swept, kept, encoder_frame)
    file = official_template.template_4(param) if kept is None else _dict(kept)
    _put_state(file, "residue", "residue", swept)
    _finish(file["frame_encoder_manager"], swept)
    return write_torch_file(file, f"{file['frame_display_index']:04d}-frame_encoder")


def _dump_3_4(param: FrameEncoderParameter, swept: SweptEncoder, kept: Value, encoder_frame: int | None) -> bytes:
    file = official_template.template_3_4(param, swept.name, swept.lmbda) if kept is None else _dict(kept)
    manager: Value
    if kept is None:
        place, frame, manager = "0", official_template.frame_3_4(param), official_template.manager_3_4(swept.lmbda)
    else:
        place, _, inner, manager = layout_3_4.find_frame(Fields(file, "the file"), encoder_frame)
        frame = _dict(read_torch_file(inner))
    _put_state(frame, "coolchic_encoder", "coolchic", swept)
    _finish(manager, swept)
    content = write_torch_file(frame, "archive").decode("latin1")
    encoders, structure = file["all_frame_encoders"], file["coding_structure"]
    assert isinstance(encoders, dict)
    assert isinstance(structure, InertObject)
    encoders[place] = (BytesFile(EncodedText(content)), manager)
    frames = structure.attributes["frames"]
    assert isinstance(frames, list)
    for each in frames:
        if isinstance(each, InertObject) and each.attributes["coding_order"] == int(place):
            each.attributes["already_encoded"] = True
    return write_torch_file(file, "video_encoder")


def _put_state(
    file: dict[str, Value], now: str, name: str, swept: SweptEncoder, *, as_objects: bool = False
) -> None:
    """Put parameters, steps and counts of the residue in.

    Args:
        file: that they are put in.
        now: key of the parameters as they are.
        name: what the other keys begin with.
        swept: the frame encoder.
        as_objects: whether steps and counts are objects, as in 5.x, or dicts.
    """
    family = swept.quantized.family
    prefix = family.prefix("residue")
    file[now] = _state(swept.quantized.state_dict(), prefix)
    steps: dict[str, dict[str, Value]] = {
        key.removeprefix(prefix): {kind: store(torch.tensor(step)) for kind, step in pair.items()}
        for key, pair in swept.quantized.nn_q_step.items()
    }
    counts: dict[str, dict[str, Value]] = {
        key.removeprefix(prefix): dict(pair) for key, pair in swept.quantized.nn_expgol_cnt.items()
    }
    for key, values in (("nn_q_step", steps), ("nn_expgol_cnt", counts)):
        file[f"{name}_{key}"] = _descriptor(values) if as_objects else dict(values)
    file[f"{name}_full_precision_param"] = _state(swept.full_precision.state_dict(), prefix)


def _descriptor(values: Mapping[str, Mapping[str, Value]]) -> InertObject:
    described = InertObject("coolchic.component.core.types.DescriptorCoolChic")
    for module in _DESCRIBED:
        pair: dict[str, Value] = {kind: values.get(module, {}).get(kind) for kind in KINDS}
        described.attributes[module] = InertObject("coolchic.component.core.types.DescriptorNN", pair)
    return described


def _state(tensors: Mapping[str, Tensor], prefix: str) -> StateDict:
    own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    keys = sorted(own, key=lambda key: _ORDER.index(key.partition(".")[0]))  # stable
    return StateDict({key: store(own[key]) for key in keys})


def _finish(manager: Value, swept: SweptEncoder) -> None:
    """Tell 3.4 and 4 that all training loops are over."""
    fields = Fields.of(manager, "the frame's manager")
    assert isinstance(manager, InertObject)
    done = fields.item("loop_counter", int) if "loop_counter" in fields else 0
    manager.attributes["loop_counter"] = max(fields.item("n_loops", int), done)
    manager.attributes["lmbda"] = float(swept.lmbda)


def _dict(value: Value) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise CheckpointError("the official file that the encoder came from is no longer one")
    return value
