"""What may run now: the state machine of a job.

Events in, instructions out; no Ray, no clock, no input or output. A frame goes through its stages one after the
other (fit if it has no encoder, open, then per module in sorted order: measure every pair, decide near-ties,
settle; at last quantize), while the pairs of one module, and different frames, run side by side on the replicas.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, NamedTuple

from sweep.choose import argmin, near_ties
from sweep.grid import Grid
from sweep.messages import (
    Call,
    CallDone,
    CallFailed,
    Event,
    Fit,
    FrameEnded,
    Instruction,
    Measure,
    MeasuredRow,
    Open,
    Quantize,
    ReplicaId,
    ReplicaLost,
    ReplicaReady,
    Retire,
    Work,
)
from workers.errors import InfeasibleModuleError, ReplicaError
from workers.quantize import QStepPair, Settled
from workers.source import FrameInfo

Mode = Literal["full", "winner"]
"""Whether every pair is measured in full; or only for as long as it can still win."""

_FAILURES = 3
"""Calls that fail on a replica, one after the other, before it is retired."""


@dataclass
class _Frame:
    """A frame in flight: what it still needs before its stage is over."""

    id: str
    todo: deque[Work]
    pairs: deque[QStepPair] = field(default_factory=deque)  # of the current module, not handed out
    module: str | None = None
    calls: set[int] = field(default_factory=set)
    rows: dict[tuple[str, QStepPair], MeasuredRow] = field(default_factory=dict)
    choices: dict[str, Settled] = field(default_factory=dict)
    info: FrameInfo | None = None
    losses: Counter[object] = field(default_factory=Counter)  # of each piece of the work in hand
    holders: set[ReplicaId] = field(default_factory=set)
    failed_on: set[ReplicaId] = field(default_factory=set)
    seconds: float = 0.0

    @property
    def may_run(self) -> bool:
        """Pairs run side by side; any other work is a stage of its own."""
        return bool(self.pairs) or (bool(self.todo) and not self.calls)


@dataclass
class _Replica:
    """A replica: the call it is at, the frame it was last given, and how many calls failed on it in a row."""

    call: int | None = None
    holds: str | None = None
    failures: int = 0


class Task(NamedTuple):
    """A frame of the job."""

    frame: str
    needs_fit: bool = False


class Schedule:
    """State machine of a job.

    It knows of the frames in flight alone, one for every replica or a few more, however many the job has.

    Args:
        tasks: the frames, each id once, in the order in which they are begun; asked for as replicas get free.
        grid: per module its pairs, in grid order.
        pairs_per_call: pairs in a call at most; ``auto`` for whole modules while there is a frame for every
            replica, and whole weight steps, shared out over several replicas, when there are fewer.
        mode: see there.
        tries: of a piece of work that is lost, with its replica or to an error that another one may not meet,
            before its frame is given up.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        grid: Grid,
        *,
        pairs_per_call: int | Literal["auto"] = "auto",
        mode: Mode = "full",
        tries: int = 3,
    ) -> None:
        self._tasks = iter(tasks)
        self._next = next(self._tasks, None)
        self._grid = {module: grid[module] for module in sorted(grid)}
        self._pairs_per_call = pairs_per_call
        self._mode = mode
        self._tries = tries
        self._frames: dict[str, _Frame] = {}
        self._calls: dict[int, Call] = {}
        self._replicas: dict[ReplicaId, _Replica] = {}
        self._idle: dict[ReplicaId, None] = {}  # in the order in which they became so
        self._open: dict[str, None] = {}  # frames in flight that have work to hand out
        self._ids = count()

    @property
    def finished(self) -> bool:
        """Whether every frame has ended."""
        return self._next is None and not self._frames

    def handle(self, event: Event) -> list[Instruction]:
        """Take in what happened; give what is to be done about it."""
        done: list[Instruction] = []
        if isinstance(event, ReplicaReady):
            if event.replica not in self._replicas:
                self._replicas[event.replica] = _Replica()
                self._idle[event.replica] = None
        elif isinstance(event, ReplicaLost):
            call = self._forget(event.replica)
            if call is not None:
                done += self._lost(call, f"replica {event.replica} was lost: {event.reason}")
        else:
            # A call that is not known was lost, or answered, before: its work has been done, or is under way.
            call = self._calls.pop(event.call, None)
            if call is not None:
                replica = self._replicas[call.replica]
                replica.call = None
                self._idle[call.replica] = None
                failed = isinstance(event, CallFailed) and not event.final
                replica.failures = replica.failures + 1 if failed else 0
                done += self._answer(call, event)
                if isinstance(event, CallFailed) and replica.failures >= _FAILURES:
                    self._forget(call.replica)
                    reason = f"{replica.failures} calls in a row failed on it, the last one: {event.error}"
                    done.append(Retire(call.replica, reason))
        return done + list(self._dispatch())

    def _forget(self, name: ReplicaId) -> Call | None:
        """A replica is no more; give the call that it was at, if any."""
        replica = self._replicas.pop(name, None)
        if replica is None:
            return None
        self._idle.pop(name, None)
        if replica.holds in self._frames:
            self._frames[replica.holds].holders.discard(name)
        return None if replica.call is None else self._calls.pop(replica.call)

    # --- what an event means for a frame

    def _answer(self, call: Call, event: CallDone | CallFailed) -> Iterator[Instruction]:
        frame = self._frames.get(call.frame)
        if frame is None:  # it failed elsewhere meanwhile
            return
        frame.calls.discard(call.id)
        if isinstance(event, CallFailed):
            if event.final:
                yield self._fail(frame, event.error)
            else:
                frame.failed_on.add(call.replica)
                yield from self._lost(call, f"on replica {call.replica}: {event.error!r}")
            return
        frame.seconds += event.seconds
        work = call.work
        if isinstance(work, Measure):
            assert isinstance(event.answer, list)
            for row in event.answer:
                frame.rows[row.module, row.q_step] = MeasuredRow(row, call.replica)
            if not frame.calls and not frame.pairs:
                yield from self._settle(frame, decided=work.plain)
        elif isinstance(work, Quantize):
            assert isinstance(event.answer, bytes)
            yield self._end(frame, "done", checkpoint=event.answer)
        elif isinstance(work, Open):
            assert isinstance(event.answer, FrameInfo)
            frame.info = event.answer
            self._next_module(frame)
        if frame.id in self._frames:
            self._note_work(frame)

    def _settle(self, frame: _Frame, *, decided: bool) -> Iterator[Instruction]:
        """All pairs of a module are measured: choose, or have the near-ties measured again first."""
        assert frame.module is not None
        rows = [frame.rows[frame.module, pair].row for pair in self._grid[frame.module]]
        try:
            if decided:
                # Only what one arithmetic measured is compared; the rest lies behind for certain.
                winner = argmin([row for row in rows if row.arithmetic == "plain"])
            else:
                ties = near_ties(rows)
                if ties:
                    pairs = tuple(row.q_step for row in ties)
                    frame.todo.append(Measure(frame.module, pairs, self._choices(frame), plain=True))
                    return
                winner = argmin(rows)
        except InfeasibleModuleError as error:
            yield self._fail(frame, InfeasibleModuleError(f"frame {frame.id}, {error}"))
            return
        frame.choices[frame.module] = winner.settle()
        self._next_module(frame)

    def _next_module(self, frame: _Frame) -> None:
        frame.losses.clear()
        frame.module = next((module for module in self._grid if module not in frame.choices), None)
        if frame.module is None:
            frame.todo.append(Quantize(self._choices(frame)))
        else:
            frame.pairs.extend(self._grid[frame.module])

    def _lost(self, call: Call, reason: str) -> Iterator[Instruction]:
        """A call came to nothing: its work goes back to where it came from, unless that happens too often."""
        frame = self._frames.get(call.frame)
        if frame is None:
            return
        frame.calls.discard(call.id)
        work = call.work
        pieces: Sequence[object] = work.pairs if isinstance(work, Measure) else (type(work),)
        frame.losses.update(pieces)
        n_lost = max(frame.losses[piece] for piece in pieces)
        if n_lost >= self._tries:
            message = f"frame {frame.id}: given up after {n_lost} lost calls, the last one: {reason}"
            yield self._fail(frame, ReplicaError(message))
            return
        if isinstance(work, Measure) and not work.plain:
            frame.pairs.extendleft(reversed(work.pairs))
        else:
            frame.todo.appendleft(work)
        self._note_work(frame)

    def _fail(self, frame: _Frame, error: Exception) -> FrameEnded:
        return self._end(frame, "failed", error=error)

    def _end(
        self,
        frame: _Frame,
        status: Literal["done", "failed"],
        *,
        error: Exception | None = None,
        checkpoint: bytes | None = None,
    ) -> FrameEnded:
        del self._frames[frame.id]
        self._open.pop(frame.id, None)
        keys = ((module, pair) for module, pairs in self._grid.items() for pair in pairs)
        rows = tuple(frame.rows[key] for key in keys if key in frame.rows)
        return FrameEnded(frame.id, status, error, frame.info, rows, frame.choices, checkpoint, frame.seconds)

    # --- handing out work

    def _note_work(self, frame: _Frame) -> None:
        if frame.may_run:
            self._open[frame.id] = None
        else:
            self._open.pop(frame.id, None)

    def _dispatch(self) -> Iterator[Call]:
        for name in list(self._idle):
            if not self._open and self._next is None:
                return
            frame = self._pick_frame(name)
            if frame is None:
                continue
            replica = self._replicas[name]
            pixels = 0 if frame.info is None else frame.info.height * frame.info.width
            call = Call(next(self._ids), name, frame.id, self._take(frame), pixels)
            self._calls[call.id] = call
            replica.call = call.id
            del self._idle[name]
            if replica.holds in self._frames:
                self._frames[replica.holds].holders.discard(name)
            replica.holds = frame.id
            frame.holders.add(name)
            frame.calls.add(call.id)
            self._note_work(frame)
            yield call

    def _pick_frame(self, name: ReplicaId) -> _Frame | None:
        """The frame that this replica holds, else one that none holds, a new one, or that with fewest holders."""
        held = self._replicas[name].holds
        if held in self._open and self._may_take(name, self._frames[held]):
            return self._frames[held]
        allowed = [frame for frame in map(self._frames.__getitem__, self._open) if self._may_take(name, frame)]
        best = min(allowed, key=lambda frame: len(frame.holders), default=None)
        if best is not None and not best.holders:
            return best
        if self._next is not None:
            return self._begin(self._next)
        return best

    def _begin(self, task: Task) -> _Frame:
        if task.frame in self._frames:
            raise ValueError(f"each frame of a job has an id of its own; {task.frame} is there twice")
        first: list[Work] = [Fit()] if task.needs_fit else []
        frame = self._frames[task.frame] = _Frame(task.frame, deque([*first, Open()]))
        self._next = next(self._tasks, None)
        return frame

    def _may_take(self, name: ReplicaId, frame: _Frame) -> bool:
        """Where calls of a frame failed they are not made again, unless they failed everywhere."""
        return name not in frame.failed_on or frame.failed_on >= self._replicas.keys()

    def _take(self, frame: _Frame) -> Work:
        if frame.todo and not frame.calls:
            return frame.todo.popleft()
        assert frame.module is not None
        n_pairs = len(self._grid[frame.module])
        auto = self._pairs_per_call == "auto"
        size = -(-n_pairs // self._shares()) if auto else int(self._pairs_per_call)
        pairs = [frame.pairs.popleft()]
        while frame.pairs and (len(pairs) < size or (auto and frame.pairs[0].weight == pairs[-1].weight)):
            pairs.append(frame.pairs.popleft())
        best = None if self._mode == "full" else self._best_loss(frame)
        return Measure(frame.module, tuple(pairs), self._choices(frame), best=best)

    def _shares(self) -> int:
        """Parts to cut a module into: two for each replica that its frame has, or one where there are no more."""
        n_replicas = 1 if self._next is not None else len(self._replicas) // len(self._frames)
        return 2 * n_replicas if n_replicas > 1 else 1

    @staticmethod
    def _best_loss(frame: _Frame) -> float:
        """Best loss of the module so far, infinite if there is none."""
        losses = (measured.row.loss for (module, _), measured in frame.rows.items() if module == frame.module)
        return min(losses, default=math.inf)

    @staticmethod
    def _choices(frame: _Frame) -> tuple[tuple[str, Settled], ...]:
        return tuple(frame.choices.items())

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
            of_frame = {call.id for call in self._calls.values() if call.frame == frame.id}
            assert frame.calls == of_frame, "a frame knows its calls"
            assert frame.calls or frame.may_run, "a frame in flight has work, waiting or under way"
            if frame.module is None or any(isinstance(work, Measure) for work in frame.todo):
                continue
            out = [
                pair
                for call in self._calls.values()
                if call.frame == frame.id and isinstance(call.work, Measure) and not call.work.plain
                for pair in call.work.pairs
            ]
            waiting = [*frame.pairs, *out]
            measured = {pair for module, pair in frame.rows if module == frame.module}
            assert len(set(waiting)) == len(waiting), "no pair is handed out twice at a time"
            assert set(waiting) | measured == set(self._grid[frame.module]), "no pair is forgotten"
