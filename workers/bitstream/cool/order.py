"""In which order a ``.cool`` file has the cool-chics of a frame, and their parameters."""

import math
from collections.abc import Mapping

from workers.candidates import KINDS, RESIDUE, Kind
from workers.codec.coolchic_parameter import CoolChicParameter

MOTION = "motion"
"""The cool-chic that frames with references have beside the residue."""

ROLES = (RESIDUE, MOTION)
"""Cool-chics of a frame, in the order in which they are sent."""

WINDOW = 9
"""Side of the window, centred on a latent, in which its contexts lie."""

ARM, IFCE, UPSAMPLING, SYNTHESIS = "arm", "ifce", "upsampling", "synthesis"

CODED_MODULES = (ARM, IFCE, UPSAMPLING, SYNTHESIS)
"""Networks of a cool-chic in the order in which they are sent; in each, all weights come before all biases."""

Shapes = Mapping[str, tuple[int, ...]]


def coded_tensors(param: CoolChicParameter) -> Mapping[tuple[str, Kind], Shapes]:
    """Names within the cool-chic and shapes of the parameters of each module and kind, in order of sending."""
    found: dict[tuple[str, Kind], dict[str, tuple[int, ...]]] = {
        (module, kind): {} for module in CODED_MODULES for kind in KINDS
    }
    for name, shape in param.tensor_shapes().items():
        module = name.partition(".")[0]
        if module in CODED_MODULES:
            found[module, "weight" if ".weight" in name else "bias"][name] = shape
    return found


def n_coded_parameters(param: CoolChicParameter) -> int:
    """Numbers in all networks."""
    return sum(math.prod(shape) for shapes in coded_tensors(param).values() for shape in shapes.values())


def n_coded_latents(param: CoolChicParameter) -> int:
    """Numbers in all grids."""
    return sum(height * width for height, width in param.grid_sizes)
