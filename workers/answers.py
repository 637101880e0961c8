"""What a replica answers at the end of a frame: data alone, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from workers.bitstream import SectionBytes


class QuantizedAnswer(NamedTuple):
    """A frame encoder with its networks quantized.

    Attributes:
        checkpoint: of it.
        rate_grid_bit: estimated bits of the latents of each grid, the finest one first.
    """

    checkpoint: bytes
    rate_grid_bit: tuple[float, ...]


class EncodedAnswer(NamedTuple):
    """A frame as the file it became, and what that cost.

    Attributes:
        quantized: the frame encoder that is in the file.
        bitstream: the file.
        sizes: of its parts, in bytes.
        mse: of the frame that a decoder makes of it.
        distortion: of the same, by the metric of the sweep.
    """

    quantized: QuantizedAnswer
    bitstream: bytes
    sizes: SectionBytes
    mse: float
    distortion: float
