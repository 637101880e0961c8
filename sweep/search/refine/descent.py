"""Descent of the integers of one network, with one pair of steps."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sweep.search.refine.account import BitAccount, as_values
from workers.candidates import KINDS, Choice, Choices, Counts, Kind, QStepPair, Trial
from workers.codec.family import ExpGolombRule
from workers.codec.network import NetworkSpec
from workers.moves import Change, Integers, Move, MoveEvaluator, NetworkMoves

_TOGETHER = 16
"""Parameters whose moves are measured together: of these moves the best is made first."""

_NEAREST = 24
"""Moves that were nearest to being made: pairs of them are tried once no single one lowers the loss."""

_MAX_INTEGER = 65535
_NO_COUNTS = Counts(0, 0)
_LEAST_GAIN = 2e-5
"""Another round is made while the last one lowered the loss by more than this share of it."""


class Rounds(NamedTuple):
    """How long a descent goes on.

    Attributes:
        most: rounds over all parameters.
        groups: whether pairs of moves are tried at the end.
        counts: that stay as they are; ``None`` for the cheapest ones at any time.
        screened: whether moves are measured only where an estimate from a part of the frame promises something.
    """

    most: int
    groups: bool
    counts: Counts | None
    screened: bool


@dataclass
class Descent:
    """Lowers the loss by moves of single integers, then of pairs: a piece of a refinement.

    The loss counts from that of ``base``: what the other networks add is the same for all that is compared.

    Attributes:
        name: of the piece.
        spec: of the network.
        q_step: its steps.
        base: choices of all networks.
        base_loss: of the frame with them.
        bit_price: what a bit is worth in the loss.
        rounds: how long it goes on.
        start: integers that it begins with; ``None`` for the rounded ones.
        number: of the pass over the networks.
    """

    name: str
    spec: NetworkSpec
    q_step: QStepPair
    base: Choices
    base_loss: float
    bit_price: float
    rounds: Rounds
    start: Integers | None = None
    number: int = 0

    finished: bool = False
    loss_before: float = float("inf")
    loss_after: float = float("inf")
    moves_screened: int = 0
    moves_measured: int = 0
    moves_accepted: int = 0
    seconds: float = 0.0
    _values: dict[Kind, list[int]] | None = None
    _rounded: bool = True
    _counts: Counts = _NO_COUNTS
    _bits: tuple[int, int] = (0, 0)
    _lengths: list[tuple[Kind, str, int]] = field(default_factory=list)
    _next: int = 0  # the first parameter of the next group
    _round: int = 0
    _loss_of_round: float = 0.0
    _near: dict[tuple[Kind, int], tuple[float, Move]] = field(default_factory=dict)

    # --- results

    @property
    def trial(self) -> Trial:
        """What it came to."""
        return Trial(
            self.spec.id,
            self.q_step,
            self.number,
            self._counts,
            self.loss_before,
            self.loss_after,
            self.moves_screened,
            self.moves_measured,
            self.moves_accepted,
            self.seconds,
        )

    @property
    def integers(self) -> Integers:
        """By tensor, as they are now."""
        assert self._values is not None
        integers, starts = {}, dict.fromkeys(KINDS, 0)
        for kind, name, length in self._lengths:
            integers[name] = tuple(self._values[kind][starts[kind] : starts[kind] + length])
            starts[kind] += length
        return integers

    def choice(self) -> Choice:
        """The choice of these integers."""
        changed = self.moves_accepted > 0 or self.start is not None
        return Choice(self.spec.id, self.q_step, self._counts, *self._bits, self.integers if changed else {})

    # --- work

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:
        """Work for about so long, or to the end; at least one group of parameters."""
        begun, clock = time.monotonic(), time.process_time()
        state = self._open(evaluator)
        while state is not None and not self.finished:
            self._step(state)
            if time.monotonic() - begun >= seconds:
                break
        self.seconds += time.process_time() - clock

    def _open(self, evaluator: MoveEvaluator) -> "_State | None":
        if self._values is None:
            integers = self.start or evaluator.rounded(self.spec.id, self.q_step)
            if integers is None:
                self.finished = True
                return None
            self._lengths = [(kind, name, len(integers[name])) for kind in KINDS for name in self.spec.names(kind)]
            self._values = _by_kind(self.spec, integers)
            state = _State(self, evaluator, self._reference(evaluator))
            self.loss_before = self._loss_of_round = state.loss
            self._take(state)
            return state
        return _State(self, evaluator, self._reference(evaluator))

    def _reference(self, evaluator: MoveEvaluator) -> float:
        """The part of the base's loss that this network changes."""
        choice = self.base[self.spec.id]
        integers = choice.integers or evaluator.rounded(self.spec.id, choice.q_step)
        assert integers is not None  # it was chosen
        moves = evaluator.open(self.spec.id, choice.q_step, integers, self.base)
        return moves.cost * moves.unit + choice.rate_bit * self.bit_price

    def _take(self, state: "_State") -> None:
        self.loss_after, self._counts = state.loss, state.account.counts
        self._bits = (state.account.bits("weight"), state.account.bits("bias"))

    def _step(self, state: "_State") -> None:
        """One group of parameters; at the end of a round, whether there is another one."""
        parameters = state.parameters
        if self._next < len(parameters):
            group = parameters[self._next : self._next + _TOGETHER]
            self._next += _TOGETHER
            state.try_moves([move for kind, index in group for move in state.moves_of(kind, index)])
        else:
            self._end_round(state)
        self._take(state)

    def _end_round(self, state: "_State") -> None:
        self._round += 1
        if self.rounds.groups and self._loss_of_round - state.loss <= _LEAST_GAIN * state.loss:
            state.try_moves(_pairs(self._near), single=False)
        gained = self._loss_of_round - state.loss
        self.finished = self._round >= self.rounds.most or gained <= _LEAST_GAIN * state.loss
        self._next, self._loss_of_round, self._near = 0, state.loss, {}

    # --- what a state tells it

    def note(self, kind: Kind, index: int, excess: float, move: Move) -> None:
        """A move that was not made, and what it would have added to the loss."""
        best = self._near.get((kind, index))
        if best is None or excess < best[0]:
            self._near[kind, index] = (excess, move)

    def forget(self, move: Move) -> None:
        """A move was made: what was noted of its parameters does not hold any more."""
        for change in move:
            self._near.pop((change.kind, change.index), None)


class _State:
    """A descent while it holds a replica."""

    def __init__(self, descent: Descent, evaluator: MoveEvaluator, reference: float) -> None:
        assert descent._values is not None
        self._descent = descent
        self._values = descent._values
        self._moves: NetworkMoves = evaluator.open(descent.spec.id, descent.q_step, descent.integers, descent.base)
        self.account = BitAccount(self._values, _rule(evaluator), descent.rounds.counts)
        self._offset = descent.base_loss - reference
        unused = descent.spec.ignored
        self.parameters = [
            (kind, index) for kind in KINDS if kind not in unused for index in range(len(self._values[kind]))
        ]
        self.loss = self._loss(self._moves.cost, self.account.total)

    def _loss(self, cost: int, bits: int) -> float:
        return self._offset + (cost * self._moves.unit + bits * self._descent.bit_price)

    def moves_of(self, kind: Kind, index: int) -> list[Move]:
        """Moves of one integer: to its neighbours, and to the nearest one that costs less."""
        value = self._values[kind][index]
        wanted = dict.fromkeys((value - 1, value + 1, self.account.cheaper(kind, value)))
        return [(Change(kind, index, v),) for v in wanted if v != value and abs(v) <= _MAX_INTEGER]

    def try_moves(self, moves: Sequence[Move], *, single: bool = True) -> None:
        """Make the best of some moves, then the best of those that still lower the loss, and so on."""
        descent = self._descent
        if descent.rounds.screened and moves:
            moves = self._promising(moves)
        while moves:
            losses = [
                self._loss(cost, self.account.after(move))
                for cost, move in zip(self._moves.measure(moves), moves, strict=True)
            ]
            descent.moves_measured += len(moves)
            if single:
                for move, loss in zip(moves, losses, strict=True):
                    if loss >= self.loss:
                        descent.note(move[0].kind, move[0].index, loss - self.loss, move)
            better = [(loss, i) for i, loss in enumerate(losses) if loss < self.loss]
            if not better:
                return
            _, best = min(better)
            self._accept(moves[best])
            touched = {(change.kind, change.index) for change in moves[best]}
            rest = [moves[i] for _, i in sorted(better) if i != best]
            rest = [move for move in rest if touched.isdisjoint((c.kind, c.index) for c in move)]
            again = self.moves_of(*next(iter(touched))) if single else []
            moves = [*rest, *again]

    def _promising(self, moves: Sequence[Move]) -> list[Move]:
        """Those that an estimate does not speak against."""
        descent = self._descent
        descent.moves_screened += len(moves)
        unit, total = self._moves.unit, self.account.total
        changes = [
            change * unit + (self.account.after(move) - total) * descent.bit_price
            for change, move in zip(self._moves.screen(moves), moves, strict=True)
        ]
        return [move for move, change in zip(moves, changes, strict=True) if change < 0]

    def _accept(self, move: Move) -> None:
        self._moves.accept(move)
        self.account.accept(move)
        self._descent.moves_accepted += 1
        self._descent.forget(move)
        self.loss = self._loss(self._moves.cost, self.account.total)


def _rule(evaluator: MoveEvaluator) -> ExpGolombRule:
    return evaluator.exp_golomb


def _by_kind(spec: NetworkSpec, integers: Integers) -> dict[Kind, list[int]]:
    return {kind: as_values([integers[name] for name in spec.names(kind)]) for kind in KINDS}


def _pairs(near: dict[tuple[Kind, int], tuple[float, Move]]) -> list[Move]:
    """Pairs of the moves that were nearest to being made."""
    best = sorted(near.items(), key=lambda item: (item[1][0], item[0]))[:_NEAREST]
    moves = [move for _, (_, move) in best]
    return [first + second for i, first in enumerate(moves) for second in moves[i + 1 :]]
