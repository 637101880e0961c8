"""Who codes the latents of a grid: the compiled kernel where it was built, else numpy and constriction."""

from collections.abc import Sequence
from typing import Protocol

from workers.bitstream.cool.features import Features, Latents
from workers.bitstream.cool.fixed_arm import FixedArm
from workers.bitstream.cool.kernel.coder import KernelCoders
from workers.bitstream.cool.kernel.library import load


class GridDecoder(Protocol):
    """Decodes grid after grid from the words of one range coder."""

    def decode(self, size: tuple[int, int], features: Features | None) -> Latents:
        """Latents of the next grid, ``[h, w]``.

        Args:
            size: of the grid.
            features: see :func:`~workers.bitstream.cool.features.grid_features`; ``None`` for zeros.

        Raises:
            ValueError: no encoder writes these words.
        """

    def finish(self) -> None:
        """Check that the words are those of what was decoded, and no more.

        Raises:
            ValueError: they are not.
        """


class GridEncoder(Protocol):
    """Encodes grid after grid by one range coder."""

    def encode(self, latents: Latents, features: Features | None) -> None:
        """Append the latents of the next grid, ``[h, w]``; with features as they are decoded with."""

    def bits(self) -> float:
        """What has been encoded so far, before it is rounded up to words."""

    def finish(self) -> bytes:
        """The words."""


class Coders(Protocol):
    """Makes decoders and encoders."""

    def decoder(self, content: bytes, arm: FixedArm, context: Sequence[int]) -> GridDecoder:
        """A decoder of words.

        Args:
            content: little-endian words of 32 bits.
            arm: of the cool-chic.
            context: flat indices, in the window, of the neighbours that are contexts.
        """

    def encoder(self, n_latents: int, arm: FixedArm, context: Sequence[int]) -> GridEncoder:
        """An encoder of so many latents."""


def coders() -> Coders:
    """Those of the compiled kernel; of numpy, on a machine where it was not built."""
    library = load()
    if library is not None:
        return KernelCoders(library)
    from workers.bitstream.cool.plain_coder import PlainCoders  # what it imports is not needed otherwise

    return PlainCoders()
