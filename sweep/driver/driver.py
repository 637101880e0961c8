"""The driver: keeps the replicas of a pool at work until every frame of a job has ended."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeVar, cast

from sweep.config import FitConfig
from sweep.driver.encoder_check import EncoderCheck
from sweep.driver.observer import Observer
from sweep.schedule import (
    LOCAL_REPLICA,
    STREAMING,
    Call,
    CallDone,
    CallFailed,
    CallProgressed,
    Encode,
    Event,
    Fit,
    FrameRefining,
    FrameSwept,
    Instruction,
    Measure,
    Open,
    Refine,
    RefinementOf,
    RefinementState,
    ReplicaId,
    ReplicaLost,
    ReplicaReady,
    Retire,
    RunSearch,
    Schedule,
    SearchOf,
    Task,
    Work,
)
from workers.answers import SignOfLife
from workers.errors import QsweepError
from workers.fit import FitProgress
from workers.moves import Piece
from workers.reasons import describe_error
from workers.replica import Replica
from workers.search import Search
from workers.source import FrameInfo, FrameSource, parse_shared

_log = logging.getLogger(__name__)

_Shared = TypeVar("_Shared")

_HELD_SECONDS = 0.2  # between two looks at whether frames may be begun again


SEARCH_SECONDS = 30.0
"""Between two reports of a search that runs on a replica: so much of it is lost with the replica."""


class Pool(Protocol):
    """Replicas, wherever they are: takes calls, gives events."""

    @property
    def n_replicas(self) -> int:
        """How many there are, or will soon be."""

    def submit(self, call: Call, source: FrameSource, fit: FitConfig) -> None:
        """Hand a call to its replica, which waits for one."""

    def wait(self, timeout: float) -> list["Event | Progress"]:
        """What happened meanwhile; waits for something to happen, but not longer than this many seconds."""

    def share(self, content: _Shared) -> Callable[[], _Shared]:
        """A reader of something that works on every replica."""

    def retire(self, replica: ReplicaId, reason: str) -> None:
        """Do without a replica, and get another one if possible."""


class Progress(NamedTuple):
    """Progress of a training, or a sign of life of a call, for the display; the schedule does not need it."""

    call: int
    progress: FitProgress | None = None


def progress_of(call: Call, item: object) -> "CallProgressed | Progress | None":
    """What a call that reports its progress says; ``None`` if it is its answer."""
    if isinstance(item, FitProgress):
        return Progress(call.id, item)
    if isinstance(item, SignOfLife):
        return Progress(call.id)
    if isinstance(call.work, RunSearch | Refine) and not cast("Search | Piece", item).finished:
        return CallProgressed(call.id, cast("Search | Piece", item))
    return None


def perform(replica: Replica, work: Work, source: FrameSource, fit: FitConfig) -> object:
    """What a replica is asked for some work; a training answers with an iterator.

    The replica may also be a stand-in whose methods only send the call on its way.
    """
    if isinstance(work, Fit):
        return replica.fit(source, fit.architecture(), fit.resolve(), fit.seed)
    if isinstance(work, Open):
        return replica.open(source, work.bitstream)
    if isinstance(work, Measure):
        return replica.measure(source, work.request)
    if isinstance(work, RunSearch):
        return replica.search(source, work.search, SEARCH_SECONDS)
    if isinstance(work, Refine):
        return replica.refine(source, work.piece, SEARCH_SECONDS)
    if isinstance(work, Encode):
        return replica.encode(source, work.choices, fit.resolve().retuning, work.bitstream)
    return replica.quantize(source, work.choices, work.measured)


class LocalPool:
    """One replica in this process."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._calls: deque[tuple[Call, FrameSource, FitConfig]] = deque()
        self._events: list[Event | Progress] = [ReplicaReady(LOCAL_REPLICA)]
        self._training: Iterator[Event | Progress] = iter(())

    @property
    def n_replicas(self) -> int:
        """One."""
        return 1

    def submit(self, call: Call, source: FrameSource, fit: FitConfig) -> None:
        """Note the call; it runs when the pool is waited for."""
        self._calls.append((call, source, fit))

    def wait(self, timeout: float) -> list[Event | Progress]:  # noqa: ARG002
        """Run a call that was handed in, a training as far as its next sign of life; give what came of it."""
        if self._events:
            events, self._events = self._events, []
            return events
        event = next(self._training, None)
        if event is None and self._calls:
            self._training = self._run(*self._calls.popleft())
            event = next(self._training)
        return [] if event is None else [event]

    def _run(self, call: Call, source: FrameSource, fit: FitConfig) -> Iterator[Event | Progress]:
        start = time.perf_counter()
        try:
            answer = perform(self._replica, call.work, source, fit)
            if isinstance(call.work, STREAMING):
                for item in cast("Iterator[object]", answer):
                    progress = progress_of(call, item)
                    if progress is not None:
                        yield progress
                    else:
                        answer = item
            yield CallDone(call.id, answer, time.perf_counter() - start)
        except QsweepError as error:
            yield CallFailed(call.id, error, final=True)

    def share(self, content: _Shared) -> Callable[[], _Shared]:
        """The thing itself."""
        return lambda: content

    def retire(self, replica: ReplicaId, reason: str) -> None:
        """Never happens: an error of the only replica is not caught."""
        raise AssertionError(f"{replica}: {reason}")


class Driver:
    """Takes some frames through all their stages, on a pool.

    Args:
        pool: the replicas.
        sources: frames, in the order in which they are begun, asked for as replicas get free.
        search_of: makes the search of a frame that has been opened.
        fit: how to fit a frame that has no encoder.
        observer: receives every event of the job.
        pairs_per_call: see :class:`~sweep.schedule.Schedule`, also for ``tries``, ``bitstream`` and
            ``refinement_of``.
        tries: of a piece of work before its frame fails.
        bitstream: name of the format of the bitstreams that frames end as, if they do.
        refinement_of: makes the refinement of a frame that was swept; ``None`` for none.
        swept: the complete sweep of a frame, where an earlier run has recorded it.
        refinement: how far the refinement of a frame that was swept is, likewise.
        may_begin: whether another frame may be begun at present; those in flight are not held up.
    """

    def __init__(
        self,
        pool: Pool,
        sources: Iterable[FrameSource],
        search_of: SearchOf,
        fit: FitConfig,
        observer: Observer,
        *,
        pairs_per_call: int | Literal["auto"] = "auto",
        tries: int = 3,
        bitstream: str | None = None,
        refinement_of: RefinementOf | None = None,
        swept: Callable[[str], FrameSwept | None] = lambda _: None,
        refinement: Callable[[str], RefinementState | None] = lambda _: None,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._pool = pool
        self._may_begin = may_begin
        self._sources: dict[str, FrameSource] = {}  # of the frames in flight
        self._fit = fit
        self._observer = observer
        self._calls: dict[int, Call] = {}
        self._swept, self._refinement, self._refines = swept, refinement, refinement_of is not None
        self._encoder_check = EncoderCheck()
        tasks = map(self._task, sources)
        self._schedule = Schedule(
            tasks,
            search_of,
            pairs_per_call=pairs_per_call,
            tries=tries,
            bitstream=bitstream,
            refinement_of=refinement_of,
        )

    def _task(self, source: FrameSource) -> Task:
        self._sources[source.id] = source
        if source.read_encoder is None:
            return Task(source.id, needs_fit=True)
        swept = self._swept(source.id)
        refinement = self._refinement(source.id) if self._refines and swept is not None else None
        return Task(source.id, swept=swept, refinement=refinement)

    def run(self) -> None:
        """Run until every frame has ended.

        Raises:
            ReplicaError: no replica is left.
            ResultsError: whatever the observer raises, when it cannot write.
        """
        while not self._schedule.finished:
            may_begin = self._may_begin()
            for instruction in self._schedule.hold(not may_begin):
                self._follow(instruction)
            if not may_begin and not self._calls:  # no replica has anything to answer
                time.sleep(_HELD_SECONDS)
                self._observer.waited()
                continue
            for event in self._pool.wait(timeout=1.0):
                if isinstance(event, Progress):
                    if event.progress is not None and event.call in self._calls:
                        self._observer.fitting(self._calls[event.call].frame, event.progress)
                    continue
                if isinstance(event, ReplicaLost):
                    self._forget(event)
                elif isinstance(event, CallDone | CallFailed):
                    self._note(self._calls.pop(event.call, None), event)
                for instruction in self._schedule.handle(event):
                    self._follow(instruction)
            self._observer.waited()

    def _forget(self, event: ReplicaLost) -> None:
        """Forget the calls of a replica that is lost: its late answers are ignored."""
        for call in [call for call in self._calls.values() if call.replica == event.replica]:
            del self._calls[call.id]
            _log.warning("frame %s: the call to replica %s is retried", call.frame, call.replica)
            self._observer.lost(call, event.reason)

    def _note(self, call: Call | None, event: CallDone | CallFailed) -> None:
        if call is None:
            return
        if isinstance(event, CallDone) and isinstance(call.work, Fit) and call.frame in self._sources:
            assert isinstance(event.answer, bytes)
            self._observer.fitted(call.frame, event.answer)
            read = self._pool.share(event.answer)
            source = self._sources[call.frame]
            self._sources[call.frame] = replace(source, read_encoder=partial(parse_shared, read, call.frame))
        if isinstance(event, CallDone) and isinstance(call.work, Open):
            assert isinstance(event.answer, FrameInfo)
            for warning in event.answer.warnings:
                _log.warning("frame %s: %s", call.frame, warning)
        if isinstance(event, CallDone) and call.frame in self._sources:
            self._encoder_check.answered(call, event.answer, self._sources[call.frame])
        if isinstance(event, CallFailed) and not event.final:
            reason = describe_error(event.error)
            _log.warning("frame %s on replica %s: %s", call.frame, call.replica, reason, exc_info=event.error)
        self._observer.answered(call, event)

    def _follow(self, instruction: Instruction) -> None:
        if isinstance(instruction, Call):
            self._calls[instruction.id] = instruction
            what = type(instruction.work).__name__
            _log.debug("frame %s: %s is asked of replica %s", instruction.frame, what, instruction.replica)
            self._pool.submit(instruction, self._sources[instruction.frame], self._fit)
            self._observer.called(instruction)
        elif isinstance(instruction, Retire):
            self._pool.retire(instruction.replica, instruction.reason)
        elif isinstance(instruction, FrameSwept):
            self._observer.swept(instruction)
        elif isinstance(instruction, FrameRefining):
            self._observer.refining(instruction)
        else:
            del self._sources[instruction.frame]
            self._encoder_check.ended(instruction.frame)
            self._observer.ended(instruction)
