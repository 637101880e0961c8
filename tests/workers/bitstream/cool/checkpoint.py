"""Official checkpoints of Cool-Chic 5: frame encoders with the networks that a file was written from."""

import pickle
from collections import OrderedDict
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from workers.candidates import KINDS, RESIDUE
from workers.codec import FrameEncoder
from workers.codec.coolchic_5.family import COOLCHIC_5
from workers.codec.coolchic_5.parameter import Coolchic5Parameter
from workers.codec.coolchic_parameter import CoolChicParameter
from workers.codec.synthesis_layer import SynthesisLayer

_ALLOWED = {("torch", "FloatStorage"), ("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("coolchic."):
            return SimpleNamespace
        if (module, name) == ("typing", "OrderedDict"):
            return OrderedDict
        assert (module, name) in _ALLOWED, (module, name)
        return super().find_class(module, name)


def read_official(path: Path) -> FrameEncoder:
    """The frame encoder of an official file, its networks quantized."""
    pickles = SimpleNamespace(Unpickler=_Unpickler, load=pickle.load, __name__="pickle")
    content = torch.load(path, map_location="cpu", pickle_module=pickles, weights_only=False)
    given = vars(content[f"{RESIDUE}_param"])
    known = {field.name: given[field.name] for field in fields(CoolChicParameter) if field.name in given}
    known["layers_synthesis"] = tuple(map(SynthesisLayer.parse, known["layers_synthesis"]))
    known |= {"family": COOLCHIC_5, "output_transform": True, "n_ups_kernels": known["latent_resolution"][1]}
    residue = replace(CoolChicParameter(**known), img_size=tuple(known["img_size"]))
    frame_encoder = FrameEncoder(Coolchic5Parameter(residue, content["frame_data_type"], content["bitdepth"]))
    frame_encoder.load_state_dict({f"{RESIDUE}.{key}": value for key, value in content[RESIDUE].items()})
    for spec in frame_encoder.networks:
        steps, counts = (vars(content[f"{RESIDUE}_nn_{name}"]) for name in ("q_step", "expgol_cnt"))
        steps, counts = vars(steps[spec.module]), vars(counts[spec.module])
        frame_encoder.nn_q_step[spec.prefix] = {kind: float(steps[kind]) for kind in KINDS}
        frame_encoder.nn_expgol_cnt[spec.prefix] = {kind: int(counts[kind]) for kind in KINDS}
    return frame_encoder.eval()
