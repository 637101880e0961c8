"""What may run now: the state machine of a job.

Events in, instructions out; no Ray, no clock, no input or output. What a frame needs next is known by its
:class:`~sweep.schedule.frame_progress.FrameProgress`; candidates of one frame, and different frames, are measured
side by side on the replicas.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

from sweep.schedule.frame_progress import FrameProgress, RefinementOf, SearchOf, Task
from sweep.schedule.messages import (
    Call,
    CallDone,
    CallFailed,
    CallProgressed,
    Event,
    FrameEnded,
    FrameRefining,
    FrameSwept,
    Instruction,
    ReplicaId,
    ReplicaLost,
    ReplicaReady,
    Retire,
)
from workers.reasons import describe_error, reason_of

_FAILURES = 3
"""Calls that fail on a replica, one after the other, before it is retired."""


@dataclass
class _Replica:
    """A replica: the call it is at, the frame it was last given, and how many calls failed on it in a row."""

    call: int | None = None
    holds: str | None = None
    failures: int = 0


class Schedule:
    """State machine of a job.

    It knows of the frames in flight alone, one for every replica or a few more, however many the job has.

    Args:
        tasks: the frames, each id once, in the order in which they are begun; asked for as replicas get free.
        search_of: makes the search of a frame that has been opened.
        pairs_per_call: candidates in a call at most; ``auto`` for all that are ready while there is a frame for
            every replica, and parts of them, shared out over several replicas, when there are fewer.
        tries: of a piece of work that is lost, with its replica or to an error that another one may not meet,
            before its frame is given up.
        bitstream: name of the format of the bitstreams that frames end as, if they do.
        refinement_of: makes the refinement of a frame that has been swept; ``None`` if choices are not refined.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        search_of: SearchOf,
        *,
        pairs_per_call: int | Literal["auto"] = "auto",
        tries: int = 3,
        bitstream: str | None = None,
        refinement_of: RefinementOf | None = None,
    ) -> None:
        self._tasks = iter(tasks)
        self._next = next(self._tasks, None)
        self._search_of = search_of
        self._pairs_per_call = None if pairs_per_call == "auto" else pairs_per_call
        self._tries = tries
        self._bitstream = bitstream
        self._refinement_of = refinement_of
        self._frames: dict[str, FrameProgress] = {}
        self._calls: dict[int, Call] = {}
        self._replicas: dict[ReplicaId, _Replica] = {}
        self._idle: dict[ReplicaId, None] = {}  # in the order in which they became so
        self._open: dict[str, None] = {}  # frames in flight that have work to hand out
        self._ids = count()
        self._held = False

    @property
    def finished(self) -> bool:
        """Whether every frame has ended."""
        return self._next is None and not self._frames

    def handle(self, event: Event) -> list[Instruction]:
        """Take in what happened; give what is to be done about it."""
        done: list[Instruction] = []
        if isinstance(event, ReplicaReady):
            self._join(event.replica)
        elif isinstance(event, ReplicaLost):
            call = self._forget(event.replica)
            if call is not None:
                done += self._lost(call, f"replica {event.replica} was lost: {event.reason}")
        elif isinstance(event, CallProgressed):
            progressed = self._calls.get(event.call)
            if progressed is not None and progressed.frame in self._frames:
                frame = self._frames[progressed.frame]
                reached = frame.progressed(progressed.work, event.reached, progressed.replica)
                done += [] if reached is None else [reached]
        else:
            # A call that is not known was lost, or answered, before: its work has been done, or is under way.
            call = self._calls.pop(event.call, None)
            if call is not None:
                done += self._answered(call, event)
        return done + list(self._dispatch())

    def hold(self, held: bool) -> list[Instruction]:
        """Begin no frames for a while, or begin them again; those in flight are not held up.

        Returns:
            What is to be done when frames are begun again.
        """
        released = self._held and not held
        self._held = held
        return list(self._dispatch()) if released else []

    # --- replicas

    def _join(self, name: ReplicaId) -> None:
        if name not in self._replicas:
            self._replicas[name] = _Replica()
            self._idle[name] = None

    def _forget(self, name: ReplicaId) -> Call | None:
        """A replica is no more; give the call that it was at, if any."""
        replica = self._replicas.pop(name, None)
        if replica is None:
            return None
        self._idle.pop(name, None)
        self._let_go(name, replica)
        return None if replica.call is None else self._calls.pop(replica.call)

    def _let_go(self, name: ReplicaId, replica: _Replica) -> None:
        if replica.holds in self._frames:
            self._frames[replica.holds].holders.discard(name)

    # --- what becomes of a call

    def _answered(self, call: Call, event: CallDone | CallFailed) -> Iterator[Instruction]:
        replica = self._replicas[call.replica]
        replica.call = None
        self._idle[call.replica] = None
        failed = isinstance(event, CallFailed) and not event.final
        replica.failures = replica.failures + 1 if failed else 0
        if isinstance(event, CallFailed) and not event.final:
            if call.frame in self._frames:
                self._frames[call.frame].failed_on.add(call.replica)
            yield from self._lost(call, f"on replica {call.replica}: {describe_error(event.error)}")
            if replica.failures >= _FAILURES:
                self._forget(call.replica)
                reason = f"{replica.failures} calls in a row failed on it, the last one: {reason_of(event.error)}"
                yield Retire(call.replica, reason)
        elif (frame := self._frame_of(call)) is not None:
            if isinstance(event, CallFailed):
                yield from self._note(frame, frame.failed(event.error))
            else:
                yield from self._note(frame, frame.answered(call.work, event, call.replica))

    def _lost(self, call: Call, reason: str) -> Iterator[Instruction]:
        if (frame := self._frame_of(call)) is not None:
            yield from self._note(frame, frame.lost(call.work, reason))

    def _frame_of(self, call: Call) -> FrameProgress | None:
        """The frame of a call that is over; ``None`` if it failed elsewhere meanwhile."""
        frame = self._frames.get(call.frame)
        if frame is not None:
            frame.calls.discard(call.id)
        return frame

    def _note(
        self, frame: FrameProgress, reached: FrameSwept | FrameRefining | FrameEnded | None = None
    ) -> Iterator[Instruction]:
        """Note whether a frame has ended, or has work to hand out; pass on what it has reached."""
        self._open.pop(frame.id, None)
        if isinstance(reached, FrameEnded):
            del self._frames[frame.id]
        elif frame.may_run:
            self._open[frame.id] = None
        if reached is not None:
            yield reached

    # --- handing out work

    def _dispatch(self) -> Iterator[Instruction]:
        for name in list(self._idle):
            if not self._open and self._next is None:
                return
            frame = self._pick_frame(name)
            if frame is not None:
                yield from self._hand_out(frame, name)

    def _hand_out(self, frame: FrameProgress, name: ReplicaId) -> Iterator[Instruction]:
        work = frame.take(self._pairs_per_call, self._shares())
        call = Call(next(self._ids), name, frame.id, work, frame.pixels)
        self._calls[call.id] = call
        replica = self._replicas[name]
        self._let_go(name, replica)
        replica.call, replica.holds = call.id, frame.id
        del self._idle[name]
        frame.holders.add(name)
        frame.calls.add(call.id)
        yield from self._note(frame)
        yield call

    def _pick_frame(self, name: ReplicaId) -> FrameProgress | None:
        """The frame that this replica holds, else one that none holds, a new one, or that with fewest holders."""
        held = self._replicas[name].holds
        if held in self._open and self._may_take(name, self._frames[held]):
            return self._frames[held]
        allowed = [frame for frame in map(self._frames.__getitem__, self._open) if self._may_take(name, frame)]
        best = min(allowed, key=lambda frame: len(frame.holders), default=None)
        if best is not None and not best.holders:
            return best
        if self._next is not None and not self._held:
            return self._begin(self._next)
        return best

    def _begin(self, task: Task) -> FrameProgress:
        if task.frame in self._frames:
            raise ValueError(f"each frame of a job has an id of its own; {task.frame} is there twice")
        frame = self._frames[task.frame] = FrameProgress(
            task, self._search_of, self._tries, self._bitstream, self._refinement_of
        )
        self._next = next(self._tasks, None)
        return frame

    def _may_take(self, name: ReplicaId, frame: FrameProgress) -> bool:
        """Where calls of a frame failed they are not made again, unless they failed everywhere."""
        return name not in frame.failed_on or frame.failed_on >= self._replicas.keys()

    def _shares(self) -> int:
        """Requests that the candidates of a frame make: two for each of its replicas, or one if it has only one."""
        n_replicas = 1 if self._next is not None else len(self._replicas) // len(self._frames)
        return 2 * n_replicas if n_replicas > 1 else 1

    # --- for tests

    def check_invariants(self) -> None:
        """Raise ``AssertionError`` if the state contradicts itself; for tests."""
        on_replicas = {replica.call for replica in self._replicas.values() if replica.call is not None}
        assert on_replicas == set(self._calls), "a replica is busy with exactly one known call"
        assert set(self._idle) == {name for name, replica in self._replicas.items() if replica.call is None}
        assert set(self._open) == {frame.id for frame in self._frames.values() if frame.may_run}
        for frame in self._frames.values():
            holders = {name for name, replica in self._replicas.items() if replica.holds == frame.id}
            assert frame.holders == holders, "a frame knows its holders"
            calls = [call for call in self._calls.values() if call.frame == frame.id]
            assert frame.calls == {call.id for call in calls}, "a frame knows its calls"
            frame.check_invariants([call.work for call in calls])
