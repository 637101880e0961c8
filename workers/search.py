"""The protocol of a search: it asks for candidates, takes in measurements, and ends in choices."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from workers.candidates import Candidate, Choice, Measurement


class Request(NamedTuple):
    """Candidates that are measured together.

    Attributes:
        candidates: of one network.
        base: choices that are in force; the networks without one are in full precision.
        plain: whether to measure with the plain arithmetic, to decide between near-ties.
        best: ``None`` to measure every candidate in full; else the best loss that is known so far, infinity at
            first: candidates that cannot win are pruned.
    """

    candidates: tuple[Candidate, ...]
    base: tuple[Choice, ...]
    plain: bool = False
    best: float | None = None


class Search(Protocol):
    """Which candidates of one frame to measure next, and which of them win.

    Pure: no clock, no input or output. It can be pickled at any moment and resumed elsewhere. Requests may be
    answered in any order, and more than once.
    """

    @property
    def nested(self) -> bool:
        """Whether it runs as a whole on one replica, since its candidates depend on each other too closely."""

    @property
    def ready(self) -> bool:
        """Whether there is something to ask for now; if not, answers are waited for, or the search is finished."""

    @property
    def finished(self) -> bool:
        """Whether every network has its choice."""

    @property
    def choices(self) -> Mapping[str, Choice]:
        """Choices that have been made so far, by network, in the order in which they were made."""

    @property
    def measurements(self) -> Sequence[Measurement]:
        """Everything that was measured so far, in the order of the table."""

    def ask(self, size: int | None = None, parts: int = 1) -> Request:
        """The next candidates.

        Args:
            size: number of candidates at most; ``None`` for as many as are best measured together.
            parts: number of requests that the candidates that are ready should make, if no size is given.
        """

    def tell(self, request: Request, measurements: Sequence[Measurement]) -> None:
        """Take in an answer.

        Raises:
            InfeasibleModuleError: no candidate of a network can be chosen.
        """

    def put_back(self, request: Request) -> None:
        """A request was lost: its candidates are asked for again."""
