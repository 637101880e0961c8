"""How candidates are measured."""

from dataclasses import dataclass

import torch

from workers.codec import EncoderParameter
from workers.plain import Precision

LEAST_TILE = 256
"""Latents, or pixels, in a tile at least; what cannot be measured with these cannot be measured."""

_CACHE_TILE = 8192
"""On a CPU larger tiles leave the cache; they gave nothing."""


@dataclass(frozen=True)
class EngineOptions:
    """How candidates are measured. A choice depends on none of it: see :class:`~workers.measure.ErrorBound`.

    Attributes:
        precision: ``float32``; or ``tf32`` for what GPUs offer in place of it, with 10 bits of mantissa.
        workspace_bytes: for the buffers of all threads together, beside the frame and what is kept of it.
        compiled: whether to use the compiled kernel, if there is one.
        tile: latents, or pixels, that are evaluated together; ``None`` for as many as is good.
    """

    precision: Precision = "float32"
    workspace_bytes: int = 1 << 30
    compiled: bool = True
    tile: int | None = None

    def tile_for(self, param: EncoderParameter, device: torch.device, threads: int) -> int:
        """Latents, or pixels, in a tile: on a CPU what stays in the cache, on a GPU what the workspace holds."""
        if self.tile is not None:
            return max(LEAST_TILE, self.tile)
        widest = max(
            width
            for coolchic in param.coolchics.values()
            for width in (coolchic.dim_arm, *(layer.out_channels for layer in coolchic.layers_synthesis))
        )
        # Two layers of one candidate in torch; or, with the compiled kernel, a few numbers of each of many.
        bytes_per_pixel = 4 * (2 * widest + 8 * 32)
        affordable = self.workspace_bytes // (bytes_per_pixel * threads)
        return max(LEAST_TILE, min(affordable, _CACHE_TILE) if device.type == "cpu" else affordable)
