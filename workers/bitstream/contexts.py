"""What the arm takes in, while latents become known."""

import numpy as np

from workers.bitstream.exp_golomb import Integers
from workers.bitstream.fixed_point import Doubles, to_activations
from workers.bitstream.integer_ifce import IntegerIfce
from workers.bitstream.networks import QuantizedNetworks
from workers.bitstream.wave_fronts import ContextIndex, WaveFronts, wave_fronts


class Contexts:
    """Contexts of latents whose neighbours, and coarser grids, are known.

    Args:
        networks: of a frame.

    Attributes:
        waves: in which the latents are coded.
    """

    def __init__(self, networks: QuantizedNetworks) -> None:
        coolchic = networks.coolchic
        channels, indices = coolchic.channel_sizes, coolchic.context_indices
        self._index = ContextIndex(channels, indices)
        has_ifce = coolchic.ifce_resolution is not None
        self._ifce = IntegerIfce(networks, self._index) if has_ifce else None
        self._known = np.zeros(self._index.size)
        self.waves: WaveFronts = wave_fronts(channels, indices, coarser_first=has_ifce)

    def know(self, latents: Integers, values: Integers) -> None:
        """From now on the values of some latents, ``[n]``, are known; the latents are given by their numbers."""
        self._known[self._index.latents[latents]] = to_activations(values)

    def of(self, latents: Integers) -> Doubles:
        """Context vectors ``[n, C]`` of some latents, as activations; the latents are given by their numbers."""
        neighbours = self._known[self._index.neighbours(latents)]
        if self._ifce is None:
            return neighbours
        return np.concatenate([neighbours, self._ifce(latents, self._known)], axis=1)
