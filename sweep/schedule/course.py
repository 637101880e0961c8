"""The course of one frame: what it needs next, and what an answer means for it.

A frame is fitted if it has no encoder, and opened; then, per module in sorted order, every pair is measured,
near-ties are decided, and the module is settled; at last the networks are quantized, or a bitstream is made.
"""

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sweep.config import Grid, Mode
from sweep.schedule.choose import near_ties, winner
from sweep.schedule.messages import (
    CallDone,
    Encode,
    Fit,
    FrameEnded,
    FrameSwept,
    Measure,
    MeasuredRow,
    Open,
    Quantize,
    ReplicaId,
    Work,
)
from workers.errors import InfeasibleModuleError, ReplicaError
from workers.measure import ErrorBound
from workers.quantize import QStepPair, Settled
from workers.replica import EncodedAnswer, QuantizedAnswer
from workers.source import FrameInfo


class Task(NamedTuple):
    """A frame of the job.

    Attributes:
        frame: its id.
        needs_fit: whether it has no frame encoder yet.
        swept: what its sweep came to, where that is known from an earlier run.
    """

    frame: str
    needs_fit: bool = False
    swept: FrameSwept | None = None


class Course:
    """A frame in flight.

    Args:
        task: the frame.
        grid: per module, in sorted order, its pairs.
        mode: see there.
        tries: of a piece of work that is lost before the frame is given up.
        bitstream: whether it ends as a bitstream, or with its networks quantized.

    Attributes:
        id: of the frame.
        calls: that it waits for.
        holders: replicas that were given it last.
        failed_on: replicas on which its calls failed.
    """

    def __init__(self, task: Task, grid: Grid, mode: Mode, tries: int, bitstream: bool = False) -> None:
        self.id = task.frame
        self.calls: set[int] = set()
        self.holders: set[ReplicaId] = set()
        self.failed_on: set[ReplicaId] = set()
        self._grid, self._mode, self._tries, self._bitstream = grid, mode, tries, bitstream
        first: list[Work] = [Fit()] if task.needs_fit else []
        self._todo: deque[Work] = deque([*first, Open()])
        self._pairs: deque[QStepPair] = deque()  # of the current module, not handed out
        self._module: str | None = None
        self._rows: dict[tuple[str, QStepPair], MeasuredRow] = {}
        self._choices: dict[str, Settled] = {}
        self._info: FrameInfo | None = None
        self._losses: Counter[object] = Counter()  # of each piece of the work in hand
        self._seconds = 0.0
        if task.swept is not None:
            self._info, self._choices, self._seconds = task.swept.info, task.swept.choices, task.swept.seconds
            self._rows = {(row.row.module, row.row.q_step): row for row in task.swept.rows}
            self._todo = deque([Encode(self._settled())])

    @property
    def may_run(self) -> bool:
        """Whether there is work to hand out: pairs run side by side, any other work is a stage of its own."""
        return bool(self._pairs) or (bool(self._todo) and not self.calls)

    @property
    def pixels(self) -> int:
        """Of the frame, 0 before it has been opened."""
        return 0 if self._info is None else self._info.height * self._info.width

    def take(self, pairs_per_call: int | None, shares: int) -> Work:
        """Hand out some work.

        Args:
            pairs_per_call: pairs at most; ``None`` for whole weight steps, so many as make a share.
            shares: parts to cut a module into then.
        """
        if self._todo and not self.calls:
            return self._todo.popleft()
        assert self._module is not None
        whole_steps = pairs_per_call is None
        size = -(-len(self._grid[self._module]) // shares) if pairs_per_call is None else pairs_per_call
        pairs = [self._pairs.popleft()]
        while self._pairs and (len(pairs) < size or (whole_steps and self._pairs[0].weight == pairs[-1].weight)):
            pairs.append(self._pairs.popleft())
        best = None if self._mode == "full" else self._best_loss()
        return Measure(self._module, tuple(pairs), self._settled(), best=best)

    def answered(self, work: Work, event: CallDone, replica: ReplicaId) -> FrameSwept | FrameEnded | None:
        """Take in an answer; give the end of the sweep, or of the frame, if it is that."""
        self._seconds += event.seconds
        if isinstance(work, Measure):
            assert isinstance(event.answer, list)
            for row in event.answer:
                self._rows[row.module, row.q_step] = MeasuredRow(row, replica)
            if not self.calls and not self._pairs:
                return self._settle()
        elif isinstance(work, Quantize):
            assert isinstance(event.answer, QuantizedAnswer)
            return self._end("done", quantized=event.answer)
        elif isinstance(work, Encode):
            assert isinstance(event.answer, EncodedAnswer)
            return self._end("done", quantized=event.answer.quantized, encoded=event.answer)
        elif isinstance(work, Open):
            assert isinstance(event.answer, FrameInfo)
            self._info = event.answer
            return self._next_module()
        return None

    def lost(self, work: Work, reason: str) -> FrameEnded | None:
        """Work came to nothing: it goes back to where it came from, unless that happens too often."""
        pieces: Sequence[object] = work.pairs if isinstance(work, Measure) else (type(work),)
        self._losses.update(pieces)
        n_lost = max(self._losses[piece] for piece in pieces)
        if n_lost >= self._tries:
            message = f"frame {self.id}: given up after {n_lost} lost calls, the last one: {reason}"
            return self.failed(ReplicaError(message))
        if isinstance(work, Measure) and not work.plain:
            self._pairs.extendleft(reversed(work.pairs))
        else:
            self._todo.appendleft(work)
        return None

    def failed(self, error: Exception) -> FrameEnded:
        """The end of the frame, with what was measured of it."""
        return self._end("failed", error=error)

    def _settle(self) -> FrameSwept | FrameEnded | None:
        """All pairs of a module are measured: choose, or have the near-ties measured again first."""
        assert self._module is not None
        rows = [self._rows[self._module, pair].row for pair in self._grid[self._module]]
        try:
            ties = near_ties(rows, self._error_bound())
            if ties:
                pairs = tuple(row.q_step for row in ties)
                self._todo.append(Measure(self._module, pairs, self._settled(), plain=True))
                return None
            chosen = winner(rows)
        except InfeasibleModuleError as error:
            return self.failed(InfeasibleModuleError(f"frame {self.id}, {error}"))
        self._choices[self._module] = chosen.settle()
        return self._next_module()

    def _next_module(self) -> FrameSwept | None:
        self._losses.clear()
        self._module = next((module for module in self._grid if module not in self._choices), None)
        if self._module is not None:
            self._pairs.extend(self._grid[self._module])
            return None
        if not self._bitstream:
            self._todo.append(Quantize(self._settled()))
            return None
        self._todo.append(Encode(self._settled()))
        assert self._info is not None
        return FrameSwept(self.id, self._info, self._in_grid_order(), self._choices, self._seconds)

    def _error_bound(self) -> ErrorBound:
        assert self._info is not None
        info = self._info
        return ErrorBound.of_frame(
            info.height, info.width, info.frame_data_type, info.bitdepth, info.lmbda, info.precision
        )

    def _settled(self) -> tuple[tuple[str, Settled], ...]:
        return tuple(self._choices.items())

    def _best_loss(self) -> float:
        """Best loss of the module so far, infinite if there is none."""
        losses = (measured.row.loss for (module, _), measured in self._rows.items() if module == self._module)
        return min(losses, default=math.inf)

    def _end(
        self,
        status: Literal["done", "failed"],
        *,
        error: Exception | None = None,
        quantized: QuantizedAnswer | None = None,
        encoded: EncodedAnswer | None = None,
    ) -> FrameEnded:
        rows = self._in_grid_order()
        return FrameEnded(
            self.id, status, error, self._info, rows, self._choices, quantized, self._seconds, encoded
        )

    def _in_grid_order(self) -> tuple[MeasuredRow, ...]:
        keys = ((module, pair) for module, pairs in self._grid.items() for pair in pairs)
        return tuple(self._rows[key] for key in keys if key in self._rows)

    def check_invariants(self, under_way: Sequence[Work]) -> None:
        """Raise ``AssertionError`` if the state contradicts itself; for tests.

        Args:
            under_way: work that was handed out and not answered.
        """
        assert self.calls or self.may_run, "a frame in flight has work, waiting or under way"
        if self._module is None or any(isinstance(work, Measure) for work in self._todo):
            return
        measures = [work for work in under_way if isinstance(work, Measure) and not work.plain]
        waiting = [*self._pairs, *(pair for work in measures for pair in work.pairs)]
        measured = {pair for module, pair in self._rows if module == self._module}
        assert len(set(waiting)) == len(waiting), "no pair is handed out twice at a time"
        assert set(waiting) | measured == set(self._grid[self._module]), "no pair is forgotten"
