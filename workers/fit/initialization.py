"""Where a fit starts: random networks, latents of zeros."""

import numpy as np
import torch

from workers.candidates import RESIDUE
from workers.codec import EncoderParameter, Frame, FrameEncoder


def initialize(
    param: EncoderParameter, frame: Frame, seed: int, index: int
) -> tuple[FrameEncoder, torch.Generator]:
    """A random initialization, and a generator for the noise that it is trained with.

    Args:
        param: architecture.
        frame: that it is to be fitted to.
        seed: of the fit.
        index: of the initialization; each is the same however many there are.
    """
    (own_seed,) = np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(own_seed))
    # The networks draw from the process' generator: lend it the state of the candidate's, and take it back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.set_state(generator.get_state())
        frame_encoder = param.family.assemble(param)
        generator.set_state(torch.default_generator.get_state())
    _scale_output(frame_encoder, frame)
    return frame_encoder, generator


def _scale_output(frame_encoder: FrameEncoder, frame: Frame) -> None:
    """An output transform begins with the range of each plane, where a frame is not rgb (Cool-Chic 5.0.1)."""
    transform = frame_encoder.coolchics[RESIDUE].synthesis.output_transform
    if transform is None or frame.frame_data_type == "rgb":
        return
    planes = frame.data.tensors if len(frame.data.tensors) > 1 else frame.data.tensors[0][0].unbind()
    with torch.no_grad():
        for i, plane in enumerate(planes):
            if plane.numel():  # chroma of a frame of one row or column may have no samples
                low, high = plane.aminmax()
                transform.weight[i, i], transform.bias[i] = high - low, low
