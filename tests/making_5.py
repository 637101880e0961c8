"""Frame encoders of family coolchic-5 made of random numbers, for options that no real one has."""

import json
from typing import Any

import torch

from workers.candidates import RESIDUE
from workers.codec import FrameEncoder
from workers.codec.coolchic_5.parameter import Coolchic5Parameter

PARAM: dict[str, Any] = {
    "layers_synthesis": ["4-1-linear-relu", "3-1-linear-none", "3-3-residual-none"],
    "linear_stabiliser_synth": True,
    "latent_resolution": [0, 3],
    "hyperlatent_resolution": [2, 3],
    "ifce_resolution": [0, 2],
    "output_feature_ifce": 3,
    "spatial_context_arm": 6,
    "linear_stabiliser_arm": True,
    "n_hidden_layers_arm": 1,
    "ups_k_size": 8,
    "ups_preconcat_k_size": 7,
    "encoder_gain": 16,
    "final_upsampling_type": "bicubic",
    "flag_common_randomness": False,
}


def make_metadata_5(img_size: tuple[int, int] = (12, 17), **changes: Any) -> dict[str, str]:
    """Metadata of a checkpoint; changes of ``<coolchic>.param`` by the names of its fields, others by theirs."""
    metadata: dict[str, Any] = {
        "format": "coolchic-5",
        "img_size": json.dumps(img_size),
        "frame_type": "I",
        "frame_data_type": "rgb",
        "bitdepth": "8",
        "lmbda": "0.001",
        "coolchics": json.dumps([RESIDUE]),
        "index_references": "[]",
        "frame_display_index": "0",
    }
    metadata |= {key: value for key, value in changes.items() if key in metadata}
    param = PARAM | {"img_size": img_size} | {key: value for key, value in changes.items() if key not in metadata}
    return {**metadata, f"{RESIDUE}.param": json.dumps(param)}


def make_frame_encoder_5(**changes: Any) -> FrameEncoder:
    """A frame encoder whose every parameter is random, and whose decoded frame fills [0, 1] and a bit more."""
    frame_encoder = FrameEncoder(Coolchic5Parameter.from_metadata(make_metadata_5(**changes))).eval()
    generator = torch.Generator().manual_seed(0)

    def normal(like: torch.Tensor, deviation: float) -> torch.Tensor:
        return deviation * torch.randn(like.shape, generator=generator)

    with torch.no_grad():
        for name, parameter in frame_encoder.named_parameters():
            _, module, *rest = name.split(".")
            if module == "latent_grids":
                parameter.copy_(normal(parameter, 0.1))
            elif module in ("arm", "ifce"):
                parameter.copy_(normal(parameter, 0.2))
            elif module == "upsampling":
                parameter.add_(normal(parameter, 0.02))
            elif rest[0] == "output_transform":
                parameter.add_(normal(parameter, 0.05) + (0.5 if rest[1] == "bias" else 0.0))
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(normal(parameter, 0.4 / fan_in**0.5 if parameter.ndim > 1 else 0.1))
    return frame_encoder
