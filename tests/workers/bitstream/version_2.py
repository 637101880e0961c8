"""Frame encoders whose files are of version 2: of Cool-Chic 5; of 3.4 and 4 with what version 1 does not hold."""

from collections.abc import Callable
from typing import Any

from tests.cases import CASE_5_NAMES, CASES_5, load_case
from tests.making import make_frame_encoder
from tests.making_5 import make_frame_encoder_5
from tests.workers.bitstream.encoding import quantized, quantized_case
from workers.codec import FrameEncoder

OPTIONS_5: dict[str, dict[str, Any]] = {
    "all": {},
    "common randomness": {"flag_common_randomness": True, "img_size": (21, 34)},
    "bicubic resize": {"latent_resolution": [1, 3], "img_size": (23, 37)},
    "nearest resize": {"latent_resolution": [2, 3], "final_upsampling_type": "nearest", "img_size": (21, 50)},
    "bilinear resize": {"latent_resolution": [1, 4], "final_upsampling_type": "bilinear", "img_size": (9, 70)},
    "yuv420 of odd sizes": {"frame_data_type": "yuv420", "img_size": (13, 7)},
    "yuv420 of one column": {"frame_data_type": "yuv420", "img_size": (13, 1), "bitdepth": "10"},
    "resized yuv420": {"frame_data_type": "yuv420", "img_size": (13, 27), "latent_resolution": [1, 2]},
    "yuv444 of 16 bits": {"frame_data_type": "yuv444", "bitdepth": "16"},
    "no ifce": {"ifce_resolution": None, "output_feature_ifce": 0},
    "no hyperlatents, ifce of all grids": {"hyperlatent_resolution": None, "ifce_resolution": [0, 6]},
    "plain": {
        "linear_stabiliser_arm": False,
        "linear_stabiliser_synth": False,
        "hyperlatent_resolution": None,
        "ifce_resolution": None,
        "output_feature_ifce": 0,
        "n_hidden_layers_arm": 0,
    },
    "hyperlatents of coarser grids alone": {"latent_resolution": [0, 1], "ifce_resolution": [1, 2]},
    "all contexts": {"spatial_context_arm": 40, "n_hidden_layers_arm": 3},
    "one context": {"spatial_context_arm": 1, "img_size": (40, 3)},
    "one pixel": {"img_size": (1, 1)},
    "one grid": {"latent_resolution": [0, 0], "hyperlatent_resolution": None, "ifce_resolution": [0, 0]},
}
"""Changes of a random frame encoder of Cool-Chic 5."""

OPTIONS_3_4: dict[str, dict[str, Any]] = {
    "several features": {"n_ft_per_res": (1, 1, 3)},
    "empty last grid": {"n_ft_per_res": (1, 1, 0)},
    "empty first grids, resized": {"n_ft_per_res": (0, 0, 1), "release": "4.2.1", "img_size": (14, 21)},
    "empty first grid, not resized": {"n_ft_per_res": (0, 1, 1), "release": "4.0.0"},
    "empty first grid, several features": {"n_ft_per_res": (0, 1, 1, 2), "release": "4.1.0"},
    "common randomness": {"n_ft_per_res": (1, 1, 2), "n_ft_per_res_cr": (1, 0, 1), "release": "4.2.1"},
    "16 bits": {"bitdepth": 16},
    "yuv420 of 12 bits": {"bitdepth": 12, "frame_data_type": "yuv420", "img_size": (11, 9)},
}
"""Likewise of Cool-Chic 3.4 and 4."""


def _of_options(make: Callable[..., FrameEncoder], changes: dict[str, Any]) -> Callable[[], FrameEncoder]:
    return lambda: quantized(make(**changes))


def _of_case(name: str) -> Callable[[], FrameEncoder]:
    return lambda: quantized_case(load_case(name, CASES_5))[0]


FRAME_ENCODERS: dict[str, Callable[[], FrameEncoder]] = {
    **{name: _of_case(name) for name in CASE_5_NAMES},
    **{f"5: {name}": _of_options(make_frame_encoder_5, changes) for name, changes in OPTIONS_5.items()},
    **{f"3.4: {name}": _of_options(make_frame_encoder, changes) for name, changes in OPTIONS_3_4.items()},
}
"""Makes each of them, quantized."""
