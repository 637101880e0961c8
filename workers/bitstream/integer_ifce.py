"""Inter-feature contexts in fixed-point arithmetic: what the coarser grids say of a latent."""

from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from workers.bitstream.exp_golomb import Integers
from workers.bitstream.fixed_point import Doubles, FixedLayer, apply_layer
from workers.bitstream.networks import QuantizedNetworks
from workers.bitstream.wave_fronts import ContextIndex
from workers.codec.coolchic_parameter import IFCE


class _Grid(NamedTuple):
    """A grid that has an IFCE.

    Attributes:
        layer: the linear layer.
        first: number of its first latent.
        width: of the grid.
        origins, strides: of the grids after it, ``[n_in]``; see :class:`ContextIndex`.
        shifts: likewise, how often each is doubled to the size of the next grid; see
            :func:`workers.codec.ifce.ifce_input`.
    """

    layer: FixedLayer
    first: int
    width: int
    origins: Integers
    strides: Integers
    shifts: Integers


class IntegerIfce:
    """The IFCE of some networks.

    Args:
        networks: of a cool-chic whose grids have one channel each.
        index: where the latents are.
    """

    def __init__(self, networks: QuantizedNetworks, index: ContextIndex) -> None:
        coolchic = networks.coolchic
        sizes = coolchic.grid_sizes
        self._n_features = coolchic.output_feature_ifce
        self._firsts = [0, *accumulate(height * width for height, width in sizes)][:-1]
        self._grids = {}
        for j, i in enumerate(coolchic.ifce_grids):
            layer = networks.layer(f"{IFCE}.arms.{j}.mlp.0")
            doubled = np.cumsum([0, *(a != b for a, b in pairwise(sizes[i + 1 :]))])[: len(sizes) - 1 - i]
            self._grids[i] = _Grid(
                layer,
                self._firsts[i],
                sizes[i][1],
                np.array(index.origins[i + 1 :], np.int64),
                np.array(index.strides[i + 1 :], np.int64),
                doubled.astype(np.int64),
            )

    def __call__(self, latents: Integers, known: Doubles) -> Doubles:
        """Features of some latents.

        Args:
            latents: ``[n]``, their numbers.
            known: activations, as :class:`ContextIndex` numbers them; those of coarser grids above and to the
                left of these latents are there.

        Returns:
            ``[n, F]``, zeros for latents of grids that have no IFCE.
        """
        features = np.zeros((len(latents), self._n_features))
        of_grid = np.searchsorted(self._firsts, latents, side="right") - 1
        for i, grid in self._grids.items():
            own = np.flatnonzero(of_grid == i)
            if len(own):
                features[own] = apply_layer(grid.layer, _inputs(grid, latents[own], known))
        return features


def _inputs(grid: _Grid, latents: Integers, known: Doubles) -> Doubles:
    """``[n, n_in]``; for the last grid, zeros."""
    if not len(grid.origins):
        return np.zeros((len(latents), 1))
    rows, columns = np.divmod(latents - grid.first, grid.width)
    at = ((rows // 2)[:, None] >> grid.shifts) * grid.strides
    at += (columns // 2)[:, None] >> grid.shifts
    at += grid.origins
    found: Doubles = known[at]
    return found
