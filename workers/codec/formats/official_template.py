"""Official files without parameters: what surrounds those of an encoder that does not come from such a file.

Where the official programs resume from a file, they take its training for finished, so a recipe in it is not used;
the objects that describe one are there, since the programs print them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.codec.formats.layout_5 import derived
from workers.codec.formats.stored import InertObject, Sizes, Value, store
from workers.codec.parameter import FrameEncoderParameter
from workers.errors import CheckpointError

_START_LR = 0.01
_WARP_FILTER_SIZE = 8


def template_3_4(param: FrameEncoderParameter, name: str, lmbda: float) -> dict[str, Value]:
    """A file of 3.4 with one frame that is still to be put in.

    Args:
        param: architecture.
        name: of the sequence.
        lmbda: weight of the rate.
    """
    frame = _object(
        "enc.utils.codingstructure.Frame",
        {
            "coding_order": 0,
            "display_order": 0,
            "depth": 0,
            "seq_name": name,
            "data": None,
            "decoded_data": None,
            "already_encoded": False,
            "index_references": [],
            "refs_data": None,
            "frame_type": "I",
        },
    )
    structure = {"intra_period": 0, "p_period": 0, "seq_name": name, "frames": [frame]}
    layers = [str(layer) for layer in param.layers_synthesis]
    shared = _param_3_4(param, layers)
    del shared["img_size"]
    return {
        "coding_structure": _object("enc.utils.codingstructure.CodingStructure", structure),
        "shared_coolchic_parameter": _object("enc.component.coolchic.CoolChicEncoderParameter", shared),
        "shared_frame_encoder_manager": manager_3_4(lmbda),
        "all_frame_encoders": {},
    }


def frame_3_4(param: FrameEncoderParameter) -> dict[str, Value]:
    """The file within a file of 3.4, without parameters."""
    layers = [str(layer) for layer in param.layers_synthesis]
    own = _param_3_4(param, layers)
    return _format(param) | {
        "coolchic_encoder_param": _object("enc.component.coolchic.CoolChicEncoderParameter", own)
    }


def template_4(param: FrameEncoderParameter) -> dict[str, Value]:
    """A file of 4.x without parameters."""
    own = _param_3_4(param, [str(layer) for layer in param.layers_synthesis])
    manager: dict[str, Value] = {"n_itr_pretrain_motion": 0, "preset": _preset_4()}
    if param.release == "4.2.1":
        own |= {"n_ft_per_res_cr": list(param.n_ft_per_res_cr), "common_randomness": bool(param.n_ft_per_res_cr)}
        manager["dist_weight"] = {"mse": 1.0}
    return (
        _format(param)
        | _place(param.frame_display_index)
        | ({} if param.release == "4.0.0" else {"warp_parameter": _warp("enc")})
        | {
            "residue_param": _object("enc.component.coolchic.CoolChicEncoderParameter", own),
            "frame_encoder_manager": _object(
                "enc.training.manager.FrameEncoderManager", _MANAGER | {"preset_name": "measure_speed"} | manager
            ),
        }
    )


def template_5(param: Coolchic5Parameter) -> dict[str, Value]:
    """A file of 5.x without parameters.

    Raises:
        CheckpointError: it has common randomness.
    """
    own: dict[str, Any] = json.loads(param.to_metadata()["residue.param"])
    if own["flag_common_randomness"]:
        raise CheckpointError(
            "an encoder with common randomness is written only into the file of Cool-Chic 5 that it comes from; "
            "a .cool file holds it"
        )
    attributes = {
        key: tuple(value) if key.endswith(("_resolution", "img_size")) and value else value
        for key, value in own.items()
    }
    attributes |= derived(own) | {"size_per_latent_cr": [], "cr_latent_resolution": None}
    monitor = {"iterations_counter": 0, "total_training_time_sec": 0.0}
    return {
        "encoder_monitor": _object("coolchic.component.frame.EncoderMonitor", monitor),
        **_format(param),
        **_place(param.frame_display_index),
        "warp_parameter": _warp("coolchic"),
        "residue_param": _object("coolchic.component.core.coolchic.CoolChicEncoderParameter", attributes),
    }


def manager_3_4(lmbda: float) -> InertObject:
    """What 3.4 keeps of the training of a frame."""
    attributes = {"preset_name": "c3x", "preset": _preset_3_4(), "lmbda": lmbda, "frame_type": "I"}
    return _object("enc.utils.manager.FrameEncoderManager", _MANAGER | attributes)


_MANAGER: dict[str, Value] = {
    "start_lr": _START_LR,
    "n_itr": 0,
    "n_loops": 1,
    "iterations_counter": 0,
    "total_training_time_sec": 0.0,
}


def _object(name: str, attributes: Mapping[str, Any]) -> InertObject:
    return InertObject(name, dict(attributes))


def _format(param: FrameEncoderParameter | Coolchic5Parameter) -> dict[str, Value]:
    return {"bitdepth": param.bitdepth, "frame_type": "I", "frame_data_type": param.frame_data_type}


def _place(display_index: int) -> dict[str, Value]:
    """Where the frame stands in its sequence, and what of it is of use to frames with references alone."""
    return {
        "index_references": [],
        "frame_display_index": display_index,
        "keys_cc_enc": ["residue"],
        **{f"global_flow_{k}": store(torch.zeros(1, 2, 1, 1)) for k in (1, 2)},
    }


def _warp(package: str) -> InertObject:
    attributes: dict[str, Value] = {
        "filter_size": _WARP_FILTER_SIZE,
        "use_torch_if_available": True,
        "mode": "sinc",
    }
    return _object(f"{package}.component.intercoding.warp.WarpParameter", attributes)


def _param_3_4(param: FrameEncoderParameter, layers: Sequence[Value]) -> dict[str, Value]:
    names = ("dim_arm", "n_hidden_layers_arm", "encoder_gain", "ups_k_size", "ups_preconcat_k_size")
    return {
        "layers_synthesis": list(layers),
        "n_ft_per_res": list(param.n_ft_per_res),
        **{name: getattr(param, name) for name in names},
        "latent_n_grids": param.n_grids,
        "img_size": Sizes(param.img_size),
    }


def _phase(modules: str) -> InertObject:
    """A phase of training that does nothing."""
    attributes: dict[str, Value] = {
        "lr": _START_LR,
        "max_itr": 0,
        "freq_valid": 100,
        "patience": 100,
        "quantize_model": False,
        "schedule_lr": False,
        "softround_temperature": (0.3, 0.3),
        "noise_parameter": (0.25, 0.25),
        "quantizer_noise_type": "gaussian",
        "quantizer_type": "softround",
        "optimized_module": [modules],
    }
    return _object("enc.training.presets.TrainerPhase", attributes)


def _warmup() -> InertObject:
    phase = {"candidates": 1, "training_phase": _phase("all")}
    return _object("enc.training.presets.Warmup", {"phases": [_object("enc.training.presets.WarmupPhase", phase)]})


def _preset_3_4() -> InertObject:
    attributes = {"preset_name": "c3x", "all_phases": [_phase("all")], "warmup": _warmup()}
    return _object("enc.training.presets.PresetC3x", attributes)


def _preset_4() -> InertObject:
    attributes: dict[str, Value] = {
        "preset_name": "measure_speed",
        "motion_pretrain_phase": [],
        "warmup": _warmup(),
        "training_phases": [_phase("all")],
    }
    return _object("enc.training.presets.PresetMeasureSpeed", attributes)
