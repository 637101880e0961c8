"""Objects of an installed Cool-Chic, 3.4 to 5.0: read and written by their attributes, never imported."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from workers.candidates import RESIDUE, Choice, by_network
from workers.codec.checkpoint import build_frame_encoder
from workers.codec.formats import layout_3_4, layout_5
from workers.codec.formats.fields import Fields
from workers.codec.frame import Frame, Planes
from workers.codec.frame_encoder import FrameEncoder
from workers.codec.quantization import apply_choices
from workers.errors import InputError, OfficialFileError

_PARAM = (*layout_3_4.PARAM, *layout_5.PARAM)


class OfficialEncoder:
    """A frame encoder of an installed Cool-Chic.

    Args:
        frame_encoder: the official object; possibly wrapped, as long as attributes are passed through.

    Raises:
        InputError: it has not the attributes of any release that is known, or is of a kind that is not supported.

    Attributes:
        is_5: whether it is one of 5.x.
    """

    def __init__(self, frame_encoder: Any) -> None:
        self._object = frame_encoder
        if hasattr(frame_encoder, "coolchic_encoder"):
            self._coolchics = {RESIDUE: frame_encoder.coolchic_encoder}
        elif hasattr(frame_encoder, "coolchic_enc"):
            self._coolchics = dict(frame_encoder.coolchic_enc.items())
        else:
            raise InputError(
                "a frame encoder of Cool-Chic 3.4, 4 or 5 has an attribute coolchic_encoder or coolchic_enc; found "
                f"an object of type {type(frame_encoder).__name__} without"
            )
        first = next(iter(self._coolchics.values()), None)
        self.is_5 = hasattr(getattr(first, "nn_q_step", None), "arm")

    def read(self, lmbda: float) -> FrameEncoder:
        """The same frame encoder as one of this project, on the device that it is on.

        Raises:
            InputError: it cannot be swept; the message says why.
        """
        try:
            metadata = self._metadata() | {"lmbda": repr(float(lmbda))}
        except OfficialFileError as error:
            raise InputError(f"the frame encoder: {error.reason}") from None
        tensors: dict[str, Tensor] = {}
        for name, coolchic in self._coolchics.items():
            prefix = f"{name}." if self.is_5 else ""
            tensors |= {prefix + key: value.detach().cpu() for key, value in coolchic.get_param().items()}
        device = next(iter(self._coolchics[RESIDUE].get_param().values())).device
        frame_encoder, _ = build_frame_encoder(metadata, tensors)
        return frame_encoder.to(device)

    def _metadata(self) -> dict[str, str]:
        # The object does not say where its frame is in a sequence, and nothing depends on it.
        values: dict[str, Any] = {"index_references": [], "frame_display_index": 0}
        values |= _attributes(self._object, ("frame_type", "frame_data_type", "bitdepth"))
        params = {
            name: Fields(_attributes(cc.param, _PARAM), f"{name}.param") for name, cc in self._coolchics.items()
        }
        frame = Fields(values, "frame_encoder")
        if self.is_5:
            return layout_5.metadata_of(frame, params)
        frame_type = frame.item("frame_type", str)
        if frame_type != "I" or len(params) > 1:
            raise OfficialFileError(f"of Cool-Chic 3.4 and 4, I frames are supported; found type {frame_type!r}")
        return layout_3_4.metadata_of(frame, params[RESIDUE], self._release(params[RESIDUE]))

    def _release(self, param: Fields) -> str:
        if hasattr(self._object, "coolchic_encoder"):
            return "3.4.1"
        return layout_3_4.release_of_4(param, has_warp=hasattr(self._object, "warp_parameter"))

    def write(self, frame_encoder: FrameEncoder, choices: Mapping[str, Choice], seconds: float) -> None:
        """Quantize the official object's networks, and set its steps and counts, as the official sweep does.

        Args:
            frame_encoder: what :meth:`read` gave; its networks are quantized too.
            choices: of every network.
            seconds: that the sweep took, for 5.x.
        """
        apply_choices(frame_encoder, by_network(choices.values()))
        for spec in frame_encoder.networks:
            coolchic, choice = self._coolchics[spec.coolchic], choices[spec.id]
            getattr(coolchic, spec.module).set_param(frame_encoder.get_network_parameters(spec.id))
            steps = {kind: torch.tensor(step) for kind, step in choice.q_step._asdict().items()}
            counts = {kind: int(count) for kind, count in choice.expgol_cnt._asdict().items()}
            if self.is_5:
                descriptor = type(coolchic.nn_q_step.arm)
                setattr(coolchic.nn_q_step, spec.module, descriptor(**steps))
                setattr(coolchic.nn_expgol_cnt, spec.module, descriptor(**counts))
            else:
                coolchic.nn_q_step[spec.module] = steps
                coolchic.nn_expgol_cnt[spec.module] = counts
        self._object.set_to_eval()
        if self.is_5:
            self._object.encoder_monitor.increment_time(seconds)


def read_frame_object(frame: Any) -> Frame:
    """The picture of an official frame, on the CPU.

    Raises:
        InputError: its samples are neither a tensor ``[1, 3, H, W]`` nor a dict of y, u and v.
    """
    data = frame.data
    samples = data.data
    planes = [samples[name] for name in ("y", "u", "v")] if data.frame_data_type == "yuv420" else [samples]
    if not all(isinstance(plane, Tensor) and plane.ndim == 4 for plane in planes):
        raise InputError("a frame's samples are a tensor [1, 3, H, W], or a dict of y, u and v")
    return Frame(
        Planes(tuple(plane.detach().float().cpu() for plane in planes)), data.frame_data_type, data.bitdepth
    )


def check_distance(dist_weight: Mapping[str, float]) -> None:
    """Refuse another distance than the mean squared error.

    Raises:
        InputError: it is another one.
    """
    try:
        layout_3_4.check_dist_weight(Fields(dist_weight, "dist_weight"))
    except OfficialFileError as error:
        raise InputError(error.reason) from None


def _attributes(of: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names if hasattr(of, name)}
