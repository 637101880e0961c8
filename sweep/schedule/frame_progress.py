"""Progress of one frame: what it needs next, and what an answer means for it.

A frame is fitted if it has no encoder, and opened; then a search asks for candidates until every network has its
choice; the choices are refined, if they are to be; at last the networks are quantized, or a bitstream is made.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, cast

from sweep.schedule.messages import (
    CallDone,
    Encode,
    Fit,
    FrameEnded,
    FrameRefining,
    FrameSwept,
    Measure,
    Open,
    Quantize,
    Refine,
    RefinedChoices,
    RefinementState,
    ReplicaId,
    RunSearch,
    SweptRow,
    Work,
)
from sweep.schedule.refining import Pieces
from sweep.search.refine.interface import Refinement
from workers.answers import EncodedAnswer, QuantizedAnswer
from workers.candidates import Candidate, Choice, Choices
from workers.errors import InfeasibleModuleError, ReplicaError, SearchError
from workers.moves import Piece
from workers.search import Search
from workers.source import FrameInfo

SearchOf = Callable[[FrameInfo], Search]
"""Makes the search of a frame that has been opened."""

RefinementOf = Callable[[FrameInfo, Choices], Refinement]
"""Makes the refinement of a frame that has been swept."""


class Task(NamedTuple):
    """A frame of the job.

    Attributes:
        frame: its id.
        needs_fit: whether it has no frame encoder yet.
        swept: the result of its sweep, where that is known from an earlier run.
        refinement: how far its refinement was, likewise.
    """

    frame: str
    needs_fit: bool = False
    swept: FrameSwept | None = None
    refinement: RefinementState | None = None


class FrameProgress:
    """A frame that is being worked on.

    Args:
        task: the frame.
        search_of: makes its search.
        tries: how often a piece of work may be lost before the frame fails.
        bitstream: name of the format of the bitstream that it ends as; ``None`` to end with its networks quantized.
        refinement_of: makes its refinement; ``None`` if its choices are final.

    Attributes:
        id: of the frame.
        calls: that it waits for.
        holders: replicas that worked on it last.
        failed_on: replicas on which its calls failed.
    """

    def __init__(
        self,
        task: Task,
        search_of: SearchOf,
        tries: int,
        bitstream: str | None = None,
        refinement_of: RefinementOf | None = None,
    ) -> None:
        self.id = task.frame
        self.calls: set[int] = set()
        self.holders: set[ReplicaId] = set()
        self.failed_on: set[ReplicaId] = set()
        self._search_of, self._tries, self._bitstream = search_of, tries, bitstream
        self._refinement_of = refinement_of
        self._reached = task.refinement
        self._pieces: Pieces | None = None
        first: list[Work] = [Fit()] if task.needs_fit else []
        self._todo: deque[Work] = deque([*first, Open(bitstream)])
        self._search: Search | None = None
        self._replicas: dict[Candidate, ReplicaId] = {}  # by what they measured
        self._swept = task.swept
        self._info: FrameInfo | None = None
        self._losses: Counter[object] = Counter()  # of each piece of work
        self._seconds = 0.0
        self._sweep_seconds: float | None = None
        if task.swept is not None:
            self._info = task.swept.info
            self._seconds = self._sweep_seconds = task.swept.seconds
            if refinement_of is None:
                self._todo = deque([self._last_work(task.swept.choices)])

    @property
    def may_run(self) -> bool:
        """Whether there is work to hand out.

        Candidates run side by side, pieces of a refinement too; any other work is a stage of its own.
        """
        return self._searching or self._refining or (bool(self._todo) and not self.calls)

    @property
    def _refining(self) -> bool:
        return self._pieces is not None and self._pieces.ready

    @property
    def _searching(self) -> bool:
        return self._search is not None and not self._search.nested and self._search.ready

    @property
    def pixels(self) -> int:
        """Luma samples of the frame, 0 before it has been opened."""
        return 0 if self._info is None else self._info.height * self._info.width

    def take(self, pairs_per_call: int | None, shares: int) -> Work:
        """Hand out some work.

        Args:
            pairs_per_call: candidates at most; ``None`` for as many as are best measured together.
            shares: number of requests that the candidates should make then.
        """
        if self._todo and not self.calls:
            return self._todo.popleft()
        if self._refining:
            assert self._pieces is not None
            return Refine(self._pieces.take())
        assert self._search is not None
        return Measure(self._search.ask(pairs_per_call, shares))

    def answered(
        self, work: Work, event: CallDone, replica: ReplicaId
    ) -> FrameSwept | FrameRefining | FrameEnded | None:
        """Take in an answer; give what it completes: the sweep, a step of the refinement, or the frame."""
        self._seconds += event.seconds
        if isinstance(work, Measure):
            assert isinstance(event.answer, list)
            assert self._search is not None
            for measurement in event.answer:
                self._replicas[measurement.candidate] = replica
            try:
                self._search.tell(work.request, event.answer)
            except InfeasibleModuleError as error:
                return self.failed(InfeasibleModuleError(f"frame {self.id}, {error}"))
            return self._after_search()
        if isinstance(work, RunSearch):
            self.progressed(work, cast("Search", event.answer), replica)
            return self._after_search()
        if isinstance(work, Refine):
            assert self._pieces is not None
            self._pieces.finished(cast("Piece", event.answer))
            return self._after_piece()
        if isinstance(work, Quantize):
            assert isinstance(event.answer, QuantizedAnswer)
            return self._end("done", quantized=event.answer)
        if isinstance(work, Encode):
            assert isinstance(event.answer, EncodedAnswer)
            return self._end("done", quantized=event.answer.quantized, encoded=event.answer)
        if isinstance(work, Open):
            assert isinstance(event.answer, FrameInfo)
            self._info = event.answer
            if self._swept is not None:
                self._after_sweep(self._swept)
                return None
            self._search = self._search_of(event.answer)
            if self._search.nested:
                self._todo.append(RunSearch(self._search))
            else:
                return self._after_search()
        return None

    def progressed(self, work: Work, reached: Search | Piece, replica: ReplicaId) -> FrameRefining | None:
        """What runs on a replica has come so far: it is resumed from here if the replica is lost."""
        if isinstance(work, Refine):
            assert self._pieces is not None
            piece = cast("Piece", reached)
            self._pieces.progressed(piece)
            self._losses[Refine, piece.name] = 0  # work that makes progress may lose any number of replicas
            return FrameRefining(self.id, self._pieces.state)
        self._search = cast("Search", reached)
        for measurement in self._search.measurements:
            self._replicas.setdefault(measurement.candidate, replica)
        return None

    def lost(self, work: Work, reason: str) -> FrameEnded | None:
        """Work was lost: it is to be done again, unless that happened too often."""
        pieces = _pieces_of(work)
        self._losses.update(pieces)
        n_lost = max(self._losses[piece] for piece in pieces)
        if n_lost >= self._tries:
            message = f"frame {self.id}: given up after {n_lost} lost calls, the last one: {reason}"
            return self.failed(ReplicaError(message))
        if isinstance(work, Measure):
            assert self._search is not None
            self._search.put_back(work.request)
        elif isinstance(work, RunSearch):
            assert self._search is not None
            self._todo.appendleft(RunSearch(self._search))
        elif isinstance(work, Refine):
            assert self._pieces is not None
            self._pieces.put_back(work.piece)
        else:
            self._todo.appendleft(work)
        return None

    def failed(self, error: Exception) -> FrameEnded:
        """The end of the frame, with what was measured of it."""
        return self._end("failed", error=error)

    def _after_search(self) -> FrameSwept | FrameEnded | None:
        """The end of the sweep, if it is that; or of the frame, if the search cannot get there."""
        assert self._search is not None
        assert self._info is not None
        missing = [spec.id for spec in self._info.networks if spec.id not in self._search.choices]
        if self._search.finished and (missing or not self._search.choices):
            names = ", ".join(missing) or "any network"
            return self.failed(SearchError(f"frame {self.id}: its search ended without a choice for {names}"))
        if not self._search.finished:
            if not (self.calls or self.may_run):
                return self.failed(
                    SearchError(f"frame {self.id}: its search is not finished, and asks for nothing")
                )
            return None
        swept = FrameSwept(self.id, self._info, self._rows(), self._choices(), self._seconds)
        self._after_sweep(swept)
        return swept if self._bitstream or self._refinement_of is not None else None

    def _after_sweep(self, swept: FrameSwept) -> None:
        """The sweep is complete: its choices are refined, or final."""
        assert self._info is not None
        self._swept, self._sweep_seconds = swept, swept.seconds
        if self._refinement_of is None:
            self._todo.append(self._last_work(swept.choices))
            return
        reached = self._reached or RefinementState(self._refinement_of(self._info, swept.choices), {})
        self._pieces = Pieces(*reached)
        if reached.refinement.finished:
            self._todo.append(self._last_work(reached.refinement.choices))

    def _after_piece(self) -> FrameRefining | FrameEnded:
        """The refined choices are final, or more pieces follow."""
        assert self._pieces is not None
        refinement = self._pieces.refinement
        missing = [network for network in self._choices() if network not in refinement.choices]
        if refinement.finished and missing:
            names = ", ".join(missing)
            return self.failed(SearchError(f"frame {self.id}: its refinement ended without a choice for {names}"))
        if refinement.finished:
            self._todo.append(self._last_work(refinement.choices))
        elif not (self.calls or self.may_run):
            return self.failed(SearchError(f"frame {self.id}: its refinement is not finished, and has no pieces"))
        return FrameRefining(self.id, self._pieces.state)

    def _last_work(self, choices: Choices) -> Work:
        """What is left when choices are final."""
        final = tuple(choices.values())
        if self._bitstream is None:
            return Quantize(final, measured=self._refinement_of is not None)
        return Encode(final, self._bitstream)

    def _choices(self) -> dict[str, Choice]:
        if self._swept is not None:
            return self._swept.choices
        return {} if self._search is None else dict(self._search.choices)

    def _rows(self) -> tuple[SweptRow, ...]:
        if self._swept is not None:
            return self._swept.rows
        measured = () if self._search is None else self._search.measurements
        return tuple(SweptRow(each, self._replicas[each.candidate]) for each in measured)

    def _end(
        self,
        status: Literal["done", "failed"],
        *,
        error: Exception | None = None,
        quantized: QuantizedAnswer | None = None,
        encoded: EncodedAnswer | None = None,
    ) -> FrameEnded:
        refined = None
        if self._pieces is not None and status == "done":
            refined = _refined_choices(self._pieces.refinement)
        return FrameEnded(
            self.id,
            status,
            error,
            self._info,
            self._rows(),
            self._choices(),
            quantized,
            self._seconds,
            encoded,
            refined,
            self._sweep_seconds,
        )

    def check_invariants(self, under_way: Sequence[Work]) -> None:
        """Raise ``AssertionError`` if the state contradicts itself; for tests.

        Args:
            under_way: work that was handed out and not answered.
        """
        assert self.calls or self.may_run, "a frame that is worked on has work, waiting or under way"
        requests = [work.request for work in under_way if isinstance(work, Measure)]
        asked = [candidate for request in requests for candidate in request.candidates]
        assert len(set(asked)) == len(asked), "no candidate is measured twice at a time"


def _pieces_of(work: Work) -> Sequence[object]:
    """What work consists of that may be lost, and counts as the same when it is handed out again."""
    if isinstance(work, Measure):
        return work.request.candidates
    return ((Refine, work.piece.name),) if isinstance(work, Refine) else (type(work),)


def _refined_choices(refinement: Refinement) -> RefinedChoices:
    """What a refinement that is finished came to."""
    assert refinement.loss_before is not None
    assert refinement.loss_after is not None
    return RefinedChoices(
        dict(refinement.choices), tuple(refinement.trials), refinement.loss_before, refinement.loss_after
    )
