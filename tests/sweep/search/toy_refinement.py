"""A small refinement: the first integers of every network, one up or down, measured by whole forward passes.

It takes the place of the one that is searched in earnest where a test is about what is around it. Networks that follow
each other make pieces of their own; each tries two pairs of steps side by side.
"""

import time
from collections.abc import Mapping, Sequence
from itertools import product

from sweep.config import Grid
from workers.candidates import KINDS, Choice, Choices, Counts, QStepPair, Trial
from workers.moves import MoveEvaluator, Piece
from workers.source import FrameInfo

_INTEGERS = 2
"""Integers of a network that are tried."""

OPTIONS_OF = ("rdoq", "joint")


class ToyPiece:
    """The integers of one network at one pair of steps; after every move it may be interrupted."""

    def __init__(self, network: str, q_step: QStepPair, counts: Counts, base: Choices, seconds_each: float) -> None:
        self.name = f"{network} {q_step.weight:g} {q_step.bias:g}"
        self.network, self.q_step, self.counts, self.base = network, q_step, counts, dict(base)
        self.moves = list(product(range(_INTEGERS), (-1, 1)))
        self.integers: dict[str, list[int]] | None = None
        self.loss = self.loss_before = float("inf")
        self.measured = self.accepted = 0
        self.finished = False
        self._seconds_each = seconds_each

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:
        end = time.monotonic() + seconds
        if self.integers is None:
            rounded = evaluator.rounded(self.network, self.q_step)
            assert rounded is not None
            self.integers = {name: list(values) for name, values in rounded.items()}
            self.loss = self.loss_before = evaluator.loss({**self.base, self.network: self.choice})
        while self.measured < len(self.moves):
            self._try(evaluator, *self.moves[self.measured])
            time.sleep(self._seconds_each)
            if time.monotonic() >= end:
                break
        self.finished = self.measured == len(self.moves)

    def _try(self, evaluator: MoveEvaluator, index: int, by: int) -> None:
        assert self.integers is not None
        values = next(iter(self.integers.values()))
        values[index] += by
        self.measured += 1
        loss = evaluator.loss({**self.base, self.network: self.choice})
        if loss < self.loss:
            self.loss = loss
            self.accepted += 1
        else:
            values[index] -= by

    @property
    def choice(self) -> Choice:
        """With the bits of plain unary codes, so that the bits are those of the integers."""
        assert self.integers is not None
        bits = sum(1 + 2 * abs(value) for values in self.integers.values() for value in values)
        integers = {name: tuple(values) for name, values in self.integers.items()}
        return Choice(self.network, self.q_step, self.counts, bits, 0, integers)


class ToyRefinement:
    """One network after the other; of two pairs of steps, the better one is taken."""

    nested = True

    def __init__(self, choices: Choices, seconds_each: float = 0.0) -> None:
        self._choices = dict(choices)
        self._networks = list(choices)
        self._told: dict[str, ToyPiece] = {}
        self._trials: list[Trial] = []
        self._seconds_each = seconds_each
        self.loss_before: float | None = None
        self.loss_after: float | None = None
        self._pieces = self._next()

    def _next(self) -> list[ToyPiece]:
        if not self._networks:
            return []
        choice = self._choices[self._networks[0]]
        pairs = [choice.q_step, QStepPair(2 * choice.q_step.weight, choice.q_step.bias)]
        return [
            ToyPiece(choice.network, pair, choice.expgol_cnt, self._choices, self._seconds_each) for pair in pairs
        ]

    @property
    def pieces(self) -> Sequence[Piece]:
        return [piece for piece in self._pieces if piece.name not in self._told]

    @property
    def finished(self) -> bool:
        return not self._pieces

    @property
    def choices(self) -> Mapping[str, Choice]:
        return self._choices

    @property
    def trials(self) -> Sequence[Trial]:
        return self._trials

    def tell(self, piece: Piece) -> None:
        assert isinstance(piece, ToyPiece)
        assert piece.finished
        self._told[piece.name] = piece
        if self.pieces:
            return
        tried = [self._told[each.name] for each in self._pieces]
        best = min(tried, key=lambda each: each.loss)
        for each in tried:
            trial = Trial(
                each.network,
                each.q_step,
                0,
                each.counts,
                each.loss_before,
                each.loss,
                0,
                each.measured,
                each.accepted,
                0.5,
            )
            self._trials.append(trial._replace(chosen=each is best))
        self.loss_before = tried[0].loss_before if self.loss_before is None else self.loss_before
        self.loss_after = best.loss
        self._choices[best.network] = best.choice
        self._networks.pop(0)
        self._pieces = self._next()

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:
        for piece in self.pieces:
            while not piece.finished:
                piece.advance(evaluator, seconds)
            self.tell(piece)


def toy_refinement(mode: str, info: FrameInfo, grid: Grid, choices: Choices, options: object) -> ToyRefinement:
    """In place of :func:`sweep.search.refinement.refinement`."""
    assert mode in OPTIONS_OF
    assert list(choices) == [spec.id for spec in info.networks]
    assert grid.keys() == choices.keys()
    assert options is not None
    assert all(kind in ("weight", "bias") for kind in KINDS)
    return ToyRefinement(choices)
