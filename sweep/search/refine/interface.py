"""Refinement: steps and integers of each network, chosen together, or integers alone.

A refinement runs on replicas, in pieces that each hold one replica for a while: the moves of a piece depend on each
other. Pieces that are ready at the same time do not depend on each other, and what comes out depends on nothing but
the frame and the options.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from workers.candidates import Choice, Trial
from workers.moves import MoveEvaluator, Piece


class Refinement(Protocol):
    """Refines the choices of one frame."""

    nested: bool

    @property
    def pieces(self) -> Sequence[Piece]:
        """Those that are ready and have not been told of; none once it is finished."""

    def tell(self, piece: Piece) -> None:
        """Take in a piece that is finished; one that was told of already changes nothing."""

    @property
    def finished(self) -> bool:
        """Whether the choices are final."""

    @property
    def choices(self) -> Mapping[str, Choice]:
        """The best ones so far, one for each network; at first those of the sweep."""

    @property
    def trials(self) -> Sequence[Trial]:
        """What was tried so far, in an order that depends on nothing."""

    @property
    def loss_before(self) -> float | None:
        """Of the sweep's choices, by the plain arithmetic; ``None`` until finished."""

    @property
    def loss_after(self) -> float | None:
        """Of the final choices, likewise; never above ``loss_before``."""

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:
        """All on one replica: work for about so long, piece after piece, or to the end."""
