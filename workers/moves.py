"""What a refinement asks of those who measure: moves of one network's integers, the others as they were chosen.

Plain data and protocols, without torch. All numbers that a refinement compares are integers, sums of exact parts:
they depend on no kernel, number of threads, replica or size of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from workers.candidates import Choices, Kind, QStepPair

if TYPE_CHECKING:
    from workers.codec.family import ExpGolombRule

Integers = Mapping[str, Sequence[int]]
"""Quantized parameters of a network, by name, in row-major order."""


class Change(NamedTuple):
    """A new value of one integer.

    Attributes:
        kind: of its parameter.
        index: among all parameters of that kind, tensor after tensor in the order of the network's spec.
        value: the new integer.
    """

    kind: Kind
    index: int  # type: ignore[assignment]  # a tuple's own search is not used
    value: int


Move = tuple[Change, ...]
"""Changes that are made together, at most one for each integer."""


class NetworkMoves(Protocol):
    """Measures moves of one network; the others stay as they are."""

    @property
    def unit(self) -> float:
        """What one unit of cost is worth in the loss."""

    @property
    def cost(self) -> int:
        """Bits of the latents, or squared error of the frame, with the integers as they are, in units."""

    def measure(self, moves: Sequence[Move]) -> list[int]:
        """Cost after each of some moves, each by itself."""

    def screen(self, moves: Sequence[Move]) -> list[int]:
        """Estimated change of the cost by each of some moves, from a fixed part of the frame."""

    def accept(self, move: Move) -> None:
        """Make a move: what is measured later stands on it."""


class MoveEvaluator(Protocol):
    """Measures moves for one frame. What it remembers is a cache: equal questions have equal answers."""

    @property
    def exp_golomb(self) -> ExpGolombRule:
        """What an integer costs."""

    def rounded(self, network: str, q_step: QStepPair) -> Integers | None:
        """Integers of a network, plainly rounded; ``None`` on an overflow."""

    def open(self, network: str, q_step: QStepPair, integers: Integers, base: Choices) -> NetworkMoves:
        """Moves of a network that begins with these integers.

        Args:
            network: its id.
            q_step: its steps.
            integers: of all its parameters.
            base: choices of all networks; that of ``network`` is not used.
        """

    def loss(self, choices: Choices) -> float:
        """Loss of the frame by the plain arithmetic, all networks quantized as chosen."""


class Piece(Protocol):
    """Work for one replica: pure, and can be pickled at any moment and resumed elsewhere."""

    @property
    def name(self) -> str:
        """Unique among all pieces of a refinement; says what it works on."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:
        """Work for about so long, or to the end."""
