"""Bits of the latents after moves, in the compiled kernel."""

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workers.measure.moves.fixed_point import rate_tables
from workers.measure.moves.kernel.library import Linear, RateNetwork, RateTile, need_memory
from workers.measure.moves.kernel.packing import Moves, Packed
from workers.measure.moves.parameters import Edit
from workers.measure.moves.rate_layers import RateLayers, RateParameters
from workers.measure.moves.rate_source import TILE, RateSource, padded, zeros

_MODULE, _FEATURES = RateParameters._fields


class RateKernel:
    """Measures moves of one of the networks that give the bits of a cool-chic's latents.

    Args:
        library: the kernel.
        source: latents and contexts.
        layers: of the networks.
        parameters: that it begins with.
        of_features: whether the network that moves is the one that gives features.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        source: RateSource,
        layers: RateLayers,
        parameters: RateParameters,
        *,
        of_features: bool,
    ) -> None:
        self._library = library
        self._moving = _FEATURES if of_features else _MODULE
        self._parameters = packed = Packed(parameters._asdict())
        tables = rate_tables()
        module = [packed.linear(_MODULE, layer) for layer in layers.module]
        features = [packed.linear(_FEATURES, layer) for layer in layers.features]
        self._layers = ((Linear * len(module))(*module), (Linear * len(features))(*features))
        self._network = RateNetwork(
            source.n_spatial + source.n_features,
            source.n_spatial,
            source.n_features,
            source.n_hidden,
            ctypes.addressof(self._layers[0]),
            packed.linear(_MODULE, layers.stabiliser),
            ctypes.addressof(self._layers[1]),
            source.least_log_scale,
            *(table.data_ptr() for table in tables),
        )
        self._kept: list[object] = [tables]
        self._tiles = self._make_tiles(source)
        n = len(self._tiles)
        self._all = np.arange(n, dtype=np.int64)
        self._poll, self._poll_ratio = np.array(source.poll, dtype=np.int64), source.poll_ratio
        need_memory(library.qsweep_rate_begin(ctypes.byref(self._network), packed.address, self._tiles, n))

    def _make_tiles(self, source: RateSource) -> "ctypes.Array[RateTile]":
        n_rows = (2 * source.n_hidden + 1) * (source.n_spatial + source.n_features) + 2
        tiles = []
        for tile in source.tiles:
            latents = padded(tile.latents, TILE)
            inputs = zeros(0, TILE) if tile.inputs is None else padded(tile.inputs, TILE)
            state = zeros(n_rows, TILE)
            state[: source.n_spatial] = padded(tile.spatial, TILE)
            self._kept += [latents, inputs, state]
            addresses = (tensor.data_ptr() for tensor in (latents, inputs, state))
            tiles.append(RateTile(len(tile.latents), tile.feature_layer, len(inputs), *addresses, 0.0))
        return (RateTile * len(tiles))(*tiles)

    @property
    def cost(self) -> int:
        """Bits of all latents, in units of 2^-16."""
        cost: float = sum(tile.cost for tile in self._tiles)
        return round(cost)

    def measure(self, moves: Moves) -> list[int]:
        """Bits after each of some moves."""
        return self._run(moves, self._all)

    def screen(self, moves: Moves) -> list[int]:
        """Estimated change of the bits, from some tiles."""
        poll = self._poll
        before = round(sum(self._tiles[i].cost for i in poll.tolist()))
        n_all, n_poll = self._poll_ratio
        return [(cost - before) * n_all // n_poll for cost in self._run(moves, poll)]

    def accept(self, move: Sequence[Edit]) -> None:
        """Make a move."""
        self._run([move], self._all, commit=True)

    def _run(self, moves: Moves, tiles: NDArray[np.int64], *, commit: bool = False) -> list[int]:
        changes, starts = self._parameters.pack(self._moving, moves)
        costs = np.empty(len(moves))
        ready = self._library.qsweep_rate_moves(
            ctypes.byref(self._network),
            self._parameters.address,
            self._tiles,
            tiles.ctypes.data,
            len(tiles),
            changes,
            starts,
            len(moves),
            commit,
            costs.ctypes.data,
        )
        need_memory(ready)
        return [round(cost) for cost in costs.tolist()]
