"""Moves of the upsampling: the input of the synthesis is computed anew for each, and what follows from it."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from workers.measure.moves.filters import Filters
from workers.measure.moves.parameters import Doubles, Edit, edited
from workers.measure.moves.picture_source import PictureSource


class Picture(Protocol):
    """Squared error of what the synthesis makes of an input."""

    @property
    def cost(self) -> int:
        """Of the input as it is."""

    def with_input(self, dense: Tensor) -> int:
        """Of another input."""

    def set_input(self, dense: Tensor) -> None:
        """Take another input for good."""


class UpsamplingMoves:
    """Measures moves of the upsampling.

    Args:
        source: of the picture.
        picture: with the input that the parameters give.
        parameters: that it begins with.
        filters: that apply them.
    """

    def __init__(self, source: PictureSource, picture: Picture, parameters: Doubles, filters: Filters) -> None:
        self._source, self._picture, self._parameters, self._filters = source, picture, parameters, filters

    @property
    def cost(self) -> int:
        """Squared error."""
        return self._picture.cost

    def measure(self, moves: Sequence[Sequence[Edit]]) -> list[int]:
        """Squared error after each of some moves."""
        return [
            self._picture.with_input(self._source.dense(edited(self._parameters, move), self._filters))
            for move in moves
        ]

    def screen(self, moves: Sequence[Sequence[Edit]]) -> list[int]:
        """Change of the squared error: the part of a frame would not cost much less than all of it."""
        return [cost - self.cost for cost in self.measure(moves)]

    def accept(self, move: Sequence[Edit]) -> None:
        """Make a move."""
        self._parameters = edited(self._parameters, move)
        self._picture.set_input(self._source.dense(self._parameters, self._filters))
