"""Estimated bits of the latents of a frame encoder, among what is known of its architecture."""

from typing import Any

import torch

from workers.codec.architecture import put_rates
from workers.codec.frame_encoder import FrameEncoder

MAX_LATENTS = 1 << 21
"""Latents whose rate is estimated; of more it would take longer than it takes to look at a file."""


def put_latents(found: dict[str, Any], encoder: FrameEncoder) -> None:
    """Put the estimated bits of all latents into what ``architecture_of`` gave, where that is quickly done."""
    with torch.inference_mode():
        if sum(grid.numel() for grid in encoder.decoder_side_latents()) > MAX_LATENTS:
            return
        rates = iter([grid.sum(dtype=torch.float64).item() for grid in encoder.rate_of_grids()])
    for coolchic, param in encoder.param.coolchics.items():
        put_rates(found, coolchic, tuple(next(rates) for _ in param.grids))
