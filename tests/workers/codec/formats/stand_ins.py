"""Objects with exactly the attributes of an installed Cool-Chic that a sweep reads and sets."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from workers.codec.formats.official import read_official
from workers.codec.formats.torch_file import read_torch_file


class Module:
    """One network, or all of a cool-chic's parameters."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def get_param(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.tensors.items()}

    def set_param(self, param: dict[str, Tensor]) -> None:
        assert param.keys() == self.tensors.keys()
        self.tensors = {name: value.clone() for name, value in param.items()}


class DescriptorNN:
    """Steps or counts of one network, in 5."""

    def __init__(self, weight: Any = None, bias: Any = None) -> None:
        self.weight, self.bias = weight, bias


class CoolChic(Module):
    """A cool-chic: its parameters, its architecture, and what is set by a sweep."""

    def __init__(self, param: Any, tensors: dict[str, Tensor], *, is_5: bool) -> None:
        super().__init__(tensors)
        self.param = param
        self.modules_to_send = sorted({name.partition(".")[0] for name in tensors} - {"latent_grids"})
        for module in self.modules_to_send:
            own = {
                name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{module}.")
            }
            setattr(self, module, Module(own))
        names = ("arm", "ifce", "upsampling", "synthesis") if is_5 else self.modules_to_send
        empty: list[Any] = [{name: DescriptorNN() for name in names} for _ in range(2)]
        if is_5:
            empty = [SimpleNamespace(**values) for values in empty]
        else:
            empty = [{name: {"weight": None, "bias": None} for name in names} for _ in range(2)]
        self.nn_q_step, self.nn_expgol_cnt = empty


class FrameEncoder:
    """A frame encoder before the sweep, as the file of one says it."""

    def __init__(self, content: bytes) -> None:
        file: Any = read_torch_file(content)
        if "all_frame_encoders" in file:
            inner, _ = file["all_frame_encoders"]["0"]
            file = read_torch_file(inner.encoded.content())
        (state,) = read_official(content).states.values()
        key = "coolchic_encoder_param" if "coolchic_encoder_param" in file else "residue_param"
        is_5 = "encoder_monitor" in file
        param = SimpleNamespace(**file[key].attributes)
        tensors = {name: stored.read() for name, stored in state.full_precision.items()}
        coolchic = CoolChic(param, tensors, is_5=is_5)
        self.frame_type, self.frame_data_type = file["frame_type"], file["frame_data_type"]
        self.bitdepth = file["bitdepth"]
        self.evaluates = False
        if key == "coolchic_encoder_param":
            self.coolchic_encoder = coolchic
        else:
            self.coolchic_enc = {"residue": coolchic}
        if "warp_parameter" in file:
            self.warp_parameter = SimpleNamespace(**file["warp_parameter"].attributes)
        if is_5:
            self.encoder_monitor = Monitor()

    def set_to_eval(self) -> None:
        self.evaluates = True


class Monitor:
    """Of a frame encoder of 5."""

    def __init__(self) -> None:
        self.total_training_time_sec = 10.0

    def increment_time(self, seconds: float) -> None:
        self.total_training_time_sec += seconds


def make_frame(samples: Tensor) -> SimpleNamespace:
    """An I frame of 8 bits."""
    data = SimpleNamespace(data=samples, frame_data_type="rgb", bitdepth=8, img_size=tuple(samples.shape[-2:]))
    return SimpleNamespace(data=data, refs_data=[])


def is_0_d(value: object) -> bool:
    """Whether a step is as the official writer takes it."""
    return isinstance(value, torch.Tensor) and value.shape == () and value.dtype == torch.float32
