"""Frame encoders of what a file holds of them: integers, steps and counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from workers.bitstream.exp_golomb import Integers
from workers.bitstream.networks import Quantization
from workers.candidates import KINDS, RESIDUE, Kind
from workers.codec import EncoderParameter, FrameEncoder


def assemble(
    param: EncoderParameter,
    latents: Sequence[npt.NDArray[Any]],
    integers: Mapping[str, Integers],
    quantization: Mapping[tuple[str, Kind], Quantization],
) -> FrameEncoder:
    """A frame encoder that is quantized as in a file: written again, it gives the same bytes.

    Args:
        param: its architecture; its encoder gain is a power of two.
        latents: whole numbers of each grid, in raster order, channel by channel.
        integers: per tensor of a network, by its name in the state dict, its multiples of the step.
        quantization: per network, by its prefix, and kind.
    """
    frame_encoder = FrameEncoder(param)
    prefix, gain = param.family.prefix(RESIDUE), param.coolchics[RESIDUE].encoder_gain
    shapes = param.tensor_shapes()
    state = {
        (name := f"{prefix}latent_grids.{i}"): torch.from_numpy(grid.astype(np.float32)).view(shapes[name]) / gain
        for i, grid in enumerate(latents)
    }
    for spec in param.networks:
        for kind in KINDS:
            for name in spec.names(kind):
                values = integers[f"{spec.prefix}.{name}"]
                exponent = quantization[spec.prefix, kind].exponent
                state[f"{spec.prefix}.{name}"] = torch.from_numpy(np.ldexp(values, exponent)).float()
        of_kinds = {kind: quantization[spec.prefix, kind] for kind in KINDS}
        frame_encoder.nn_q_step[spec.prefix] = {kind: 2.0**of_kind.exponent for kind, of_kind in of_kinds.items()}
        frame_encoder.nn_expgol_cnt[spec.prefix] = {kind: of_kind.expgol_cnt for kind, of_kind in of_kinds.items()}
    frame_encoder.load_state_dict(state)
    return frame_encoder.eval()
