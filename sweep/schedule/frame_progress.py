"""Progress of one frame: what it needs next, and what an answer means for it.

A frame is fitted if it has no encoder, and opened; then a search asks for candidates until every network has its
choice; at last the networks are quantized, or a bitstream is made.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, cast

from sweep.schedule.messages import (
    CallDone,
    Encode,
    Fit,
    FrameEnded,
    FrameSwept,
    Measure,
    Open,
    Quantize,
    ReplicaId,
    RunSearch,
    SweptRow,
    Work,
)
from workers.answers import EncodedAnswer, QuantizedAnswer
from workers.candidates import Candidate, Choice
from workers.errors import InfeasibleModuleError, ReplicaError, SearchError
from workers.search import Search
from workers.source import FrameInfo

SearchOf = Callable[[FrameInfo], Search]
"""Makes the search of a frame that has been opened."""


class Task(NamedTuple):
    """A frame of the job.

    Attributes:
        frame: its id.
        needs_fit: whether it has no frame encoder yet.
        swept: the result of its sweep, where that is known from an earlier run.
    """

    frame: str
    needs_fit: bool = False
    swept: FrameSwept | None = None


class FrameProgress:
    """A frame that is being worked on.

    Args:
        task: the frame.
        search_of: makes its search.
        tries: how often a piece of work may be lost before the frame fails.
        bitstream: name of the format of the bitstream that it ends as; ``None`` to end with its networks quantized.

    Attributes:
        id: of the frame.
        calls: that it waits for.
        holders: replicas that worked on it last.
        failed_on: replicas on which its calls failed.
    """

    def __init__(self, task: Task, search_of: SearchOf, tries: int, bitstream: str | None = None) -> None:
        self.id = task.frame
        self.calls: set[int] = set()
        self.holders: set[ReplicaId] = set()
        self.failed_on: set[ReplicaId] = set()
        self._search_of, self._tries, self._bitstream = search_of, tries, bitstream
        first: list[Work] = [Fit()] if task.needs_fit else []
        self._todo: deque[Work] = deque([*first, Open(bitstream)])
        self._search: Search | None = None
        self._replicas: dict[Candidate, ReplicaId] = {}  # by what they measured
        self._swept = task.swept
        self._info: FrameInfo | None = None
        self._losses: Counter[object] = Counter()  # of each piece of work
        self._seconds = 0.0
        if task.swept is not None:
            self._info, self._seconds = task.swept.info, task.swept.seconds
            self._todo = deque([self._last_work(tuple(task.swept.choices.values()))])

    @property
    def may_run(self) -> bool:
        """Whether there is work to hand out: candidates run side by side, any other work is a stage of its own."""
        return self._searching or (bool(self._todo) and not self.calls)

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
        assert self._search is not None
        return Measure(self._search.ask(pairs_per_call, shares))

    def answered(self, work: Work, event: CallDone, replica: ReplicaId) -> FrameSwept | FrameEnded | None:
        """Take in an answer; give the end of the sweep, or of the frame, if it is that."""
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
            self.progressed(cast("Search", event.answer), replica)
            return self._after_search()
        if isinstance(work, Quantize):
            assert isinstance(event.answer, QuantizedAnswer)
            return self._end("done", quantized=event.answer)
        if isinstance(work, Encode):
            assert isinstance(event.answer, EncodedAnswer)
            return self._end("done", quantized=event.answer.quantized, encoded=event.answer)
        if isinstance(work, Open):
            assert isinstance(event.answer, FrameInfo)
            self._info = event.answer
            self._search = self._search_of(event.answer)
            if self._search.nested:
                self._todo.append(RunSearch(self._search))
            else:
                return self._after_search()
        return None

    def progressed(self, search: Search, replica: ReplicaId) -> None:
        """A search that runs on a replica has come so far: it is resumed from here if the replica is lost."""
        self._search = search
        for measurement in search.measurements:
            self._replicas.setdefault(measurement.candidate, replica)

    def lost(self, work: Work, reason: str) -> FrameEnded | None:
        """Work was lost: it is to be done again, unless that happened too often."""
        pieces: Sequence[object] = work.request.candidates if isinstance(work, Measure) else (type(work),)
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
        self._todo.append(self._last_work(tuple(self._search.choices.values())))
        if self._bitstream is None:
            return None
        return FrameSwept(self.id, self._info, self._rows(), self._choices(), self._seconds)

    def _last_work(self, choices: tuple[Choice, ...]) -> Work:
        """What is left once every network has its choice."""
        return Quantize(choices) if self._bitstream is None else Encode(choices, self._bitstream)

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
        rows, choices = self._rows(), self._choices()
        return FrameEnded(self.id, status, error, self._info, rows, choices, quantized, self._seconds, encoded)

    def check_invariants(self, under_way: Sequence[Work]) -> None:
        """Raise ``AssertionError`` if the state contradicts itself; for tests.

        Args:
            under_way: work that was handed out and not answered.
        """
        assert self.calls or self.may_run, "a frame that is worked on has work, waiting or under way"
        requests = [work.request for work in under_way if isinstance(work, Measure)]
        asked = [candidate for request in requests for candidate in request.candidates]
        assert len(set(asked)) == len(asked), "no candidate is measured twice at a time"
