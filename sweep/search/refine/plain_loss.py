"""A piece of a refinement that measures losses by the plain arithmetic."""

from dataclasses import dataclass, field

from workers.candidates import Choices
from workers.moves import MoveEvaluator


@dataclass
class PlainLosses:
    """Measures the frame with some sets of choices.

    Attributes:
        name: of the piece.
        choices: each of all networks.
        losses: those that were measured, in the same order.
    """

    name: str
    choices: tuple[Choices, ...]
    losses: list[float] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether all were measured."""
        return len(self.losses) == len(self.choices)

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:  # noqa: ARG002
        """Measure the next one."""
        if not self.finished:
            self.losses.append(evaluator.loss(self.choices[len(self.losses)]))
