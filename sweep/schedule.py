"""What may run now: the state machine of a job.

Events in, instructions out; no Ray, no clock, no input or output. A frame goes through its stages one after the
other (fit if it has no encoder, open, then per module in sorted order: measure every pair, decide near-ties,
settle; at last quantize), while the pairs of one module, and different frames, run side by side on the replicas.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    Work,
)
from workers.errors import InfeasibleModuleError, ReplicaError
from workers.quantize import QStepPair, Settled
from workers.source import FrameInfo

Mode = Literal["full", "winner"]
"""Whether every pair is measured in full; or only for as long as it can still win."""


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
    losses: int = 0
    seconds: float = 0.0

    @property
    def has_work(self) -> bool:
        return bool(self.todo or self.pairs)


class Task(NamedTuple):
    """A frame of the job."""

    frame: str
    needs_fit: bool = False


class Schedule:
    """State machine of a job.

    Args:
        tasks: the frames, each id once; those that need a fit, the longest work, are begun first.
        grid: per module its pairs, in grid order.
        pairs_per_call: pairs in a call at most; ``auto`` for whole weight steps, so that a module is shared out
            over the replicas in a few calls each.
        mode: see there.
        max_losses: calls of one frame that may be lost, with their replica or to an error that another try may
            not meet, before the frame is given up.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        grid: Grid,
        *,
        pairs_per_call: int | Literal["auto"] = "auto",
        mode: Mode = "full",
        max_losses: int = 3,
    ) -> None:
        self._waiting = deque(sorted(tasks, key=lambda task: not task.needs_fit))
        if len({task.frame for task in self._waiting}) != len(self._waiting):
            raise ValueError("each frame of a job has an id of its own")
        self._grid = {module: grid[module] for module in sorted(grid)}
        self._pairs_per_call = pairs_per_call
        self._mode = mode
        self._max_losses = max_losses
        self._frames: dict[str, _Frame] = {}
        self._calls: dict[int, Call] = {}
        self._busy: dict[ReplicaId, int | None] = {}
        self._holds: dict[ReplicaId, str] = {}
        self._ids = count()

    @property
    def finished(self) -> bool:
        """Whether every frame has ended."""
        return not self._waiting and not self._frames

    def handle(self, event: Event) -> list[Instruction]:
        """Take in what happened; give what is to be done about it."""
        ended: list[Instruction] = []
        if isinstance(event, ReplicaReady):
            self._busy.setdefault(event.replica, None)
        elif isinstance(event, ReplicaLost):
            call_id = self._busy.pop(event.replica, None)
            self._holds.pop(event.replica, None)
            if call_id is not None:
                call = self._calls.pop(call_id)
                ended += self._lost(call, f"replica {event.replica} was lost: {event.reason}")
        else:
            # A call that is not known was lost, or answered, before: its work has been done, or is under way.
            answered = self._calls.pop(event.call, None)
            if answered is not None:
                self._busy[answered.replica] = None
                ended += self._answer(answered, event)
        return ended + list(self._dispatch())

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
                yield from self._lost(call, repr(event.error))
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
        frame.losses += 1
        if frame.losses >= self._max_losses:
            message = f"frame {frame.id}: given up after {frame.losses} lost calls, the last one: {reason}"
            yield self._fail(frame, ReplicaError(message))
        elif isinstance(call.work, Measure) and not call.work.plain:
            frame.pairs.extendleft(reversed(call.work.pairs))
        else:
            frame.todo.appendleft(call.work)

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
        keys = ((module, pair) for module, pairs in self._grid.items() for pair in pairs)
        rows = tuple(frame.rows[key] for key in keys if key in frame.rows)
        return FrameEnded(frame.id, status, error, frame.info, rows, frame.choices, checkpoint, frame.seconds)

    # --- handing out work

    def _dispatch(self) -> Iterator[Call]:
        for replica, call_id in self._busy.items():
            if call_id is None and (frame := self._pick_frame(replica)) is not None:
                call = Call(next(self._ids), replica, frame.id, self._take(frame))
                self._calls[call.id] = call
                self._busy[replica] = call.id
                self._holds[replica] = frame.id
                frame.calls.add(call.id)
                yield call

    def _pick_frame(self, replica: ReplicaId) -> _Frame | None:
        """The frame that this replica holds, else one that none holds, else whichever began first."""
        # Two frames a replica: while one waits for its argmin, nobody idles.
        while self._waiting and len(self._frames) < 2 * len(self._busy):
            task = self._waiting.popleft()
            first: list[Work] = [Fit()] if task.needs_fit else []
            self._frames[task.frame] = _Frame(task.frame, deque([*first, Open()]))
        held = self._holds.get(replica)
        others = set(self._holds.values())
        preferences: Sequence[Callable[[_Frame], bool]] = (
            lambda frame: frame.id == held,
            lambda frame: frame.id not in others,
            lambda _: True,
        )
        for preferred in preferences:
            for frame in self._frames.values():
                if preferred(frame) and self._may_run(frame):
                    return frame
        return None

    @staticmethod
    def _may_run(frame: _Frame) -> bool:
        """Pairs run side by side; any other work is a stage of its own."""
        return bool(frame.pairs) or (bool(frame.todo) and not frame.calls)

    def _take(self, frame: _Frame) -> Work:
        if frame.todo and not frame.calls:
            return frame.todo.popleft()
        assert frame.module is not None
        n_pairs = len(self._grid[frame.module])
        auto = self._pairs_per_call == "auto"
        size = -(-n_pairs // (2 * len(self._busy))) if auto else int(self._pairs_per_call)
        pairs = [frame.pairs.popleft()]
        while frame.pairs and (len(pairs) < size or (auto and frame.pairs[0].weight == pairs[-1].weight)):
            pairs.append(frame.pairs.popleft())
        best = None if self._mode == "full" else self._best_loss(frame)
        return Measure(frame.module, tuple(pairs), self._choices(frame), best=best)

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
        on_replicas = {call_id for call_id in self._busy.values() if call_id is not None}
        assert on_replicas == set(self._calls), "a replica is busy with exactly one known call"
        for frame in self._frames.values():
            of_frame = {call.id for call in self._calls.values() if call.frame == frame.id}
            assert frame.calls == of_frame, "a frame knows its calls"
            assert frame.calls or frame.has_work, "a frame in flight has work, waiting or under way"
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
