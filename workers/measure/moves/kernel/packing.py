"""Parameters and moves as the compiled kernel takes them."""

import ctypes
from collections.abc import Mapping, Sequence

import numpy as np

from workers.measure.moves.kernel.library import Change, Linear, long
from workers.measure.moves.parameters import Doubles, Edit, Layer

Moves = Sequence[Sequence[Edit]]


class Packed:
    """All parameters of some networks in one vector.

    Args:
        networks: per network, its parameters.

    Attributes:
        values: ``[n]`` float64.
    """

    def __init__(self, networks: Mapping[str, Doubles]) -> None:
        self._starts: dict[tuple[str, str], int] = {}
        parts, start = [np.zeros(0)], 0
        for network, parameters in networks.items():
            for name, value in parameters.items():
                self._starts[network, name] = start
                parts.append(value.reshape(-1).numpy())
                start += value.numel()
        self.values = np.concatenate(parts)

    @property
    def address(self) -> int:
        """Of the vector."""
        return self.values.ctypes.data

    def linear(self, network: str, layer: Layer | None) -> Linear:
        """Places of a layer's parameters."""
        if layer is None:
            return Linear(-1, -1)
        return Linear(self._starts[network, layer.weight], self._starts[network, layer.bias])

    def pack(self, network: str, moves: Moves) -> tuple["ctypes.Array[Change]", "ctypes.Array[ctypes.c_long]"]:
        """All changes of some moves of one network, and where those of each move begin."""
        changes, starts = [], [0]
        for move in moves:
            for name, offset, delta, place in move:
                if place is not None:
                    changes.append(Change(*place, self._starts[network, name] + offset, delta))
            starts.append(len(changes))
        return (Change * len(changes))(*changes), (long * len(starts))(*starts)
