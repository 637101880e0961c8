"""What a replica answers at the end of a frame: data alone, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from workers.bitstream import SectionBytes


class Cost(NamedTuple):
    """What a frame costs with all its networks quantized, as the plain arithmetic measures it.

    Attributes:
        loss: ``distortion + lmbda · (rate_latent_bit + rate_nn_bit) / (H · W)``.
        mse: mean squared error of the decoded frame, samples in [0, 1].
        rate_latent_bit: estimated bits of all latents.
        rate_nn_bit: bits of all networks.
        distortion: by the metric of the sweep.
    """

    loss: float
    mse: float
    rate_latent_bit: float
    rate_nn_bit: int
    distortion: float


class QuantizedAnswer(NamedTuple):
    """A frame encoder with its networks quantized.

    Attributes:
        checkpoint: of it.
        rate_grid_bit: estimated bits of the latents of each grid, the finest one first.
        cost: of choices that were refined; those of a sweep are in its table.
    """

    checkpoint: bytes
    rate_grid_bit: tuple[float, ...]
    cost: Cost | None = None


class SignOfLife(NamedTuple):
    """What a replica says of work that has nothing else to report yet."""


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
