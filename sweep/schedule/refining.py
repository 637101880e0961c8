"""Pieces of the refinement of one frame: which may be handed out, and where each is resumed."""

from collections.abc import Mapping

from sweep.schedule.messages import RefinementState
from sweep.search.refine.interface import Refinement
from workers.moves import Piece


class Pieces:
    """The pieces of a refinement that is being worked on.

    Args:
        refinement: of the frame.
        begun: pieces that were begun in an earlier run, as far as they were, by their names.
    """

    def __init__(self, refinement: Refinement, begun: Mapping[str, Piece]) -> None:
        self.refinement = refinement
        self._begun = dict(begun)
        self._under_way: set[str] = set()

    def _waiting(self) -> list[Piece]:
        return [piece for piece in self.refinement.pieces if piece.name not in self._under_way]

    @property
    def ready(self) -> bool:
        """Whether there is a piece to hand out."""
        return bool(self._waiting())

    @property
    def state(self) -> RefinementState:
        """How far all of it is."""
        return RefinementState(self.refinement, dict(self._begun))

    def take(self) -> Piece:
        """Hand out a piece, as far as it is."""
        piece = self._waiting()[0]
        self._under_way.add(piece.name)
        return self._begun.get(piece.name, piece)

    def progressed(self, piece: Piece) -> None:
        """A piece that is under way is as far as this."""
        self._begun[piece.name] = piece

    def finished(self, piece: Piece) -> None:
        """A piece that was under way is complete."""
        self._under_way.discard(piece.name)
        self._begun.pop(piece.name, None)
        self.refinement.tell(piece)

    def put_back(self, piece: Piece) -> None:
        """A piece was lost with its replica: it is handed out again, as far as it was reported."""
        self._under_way.discard(piece.name)
