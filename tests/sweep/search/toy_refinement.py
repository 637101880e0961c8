"""A small refinement: the first integers of every network, one up or down, measured by whole forward passes.

It takes the place of the real one where a test is about what is around it. Networks follow each other; of each, two
pairs of steps are tried side by side.
"""

import time
from collections.abc import Mapping, Sequence
from itertools import product

import torch

from sweep.config import Grid, RefineOptions
from workers.candidates import KINDS, Choice, Choices, Counts, QStepPair, Trial
from workers.codec import NetworkSpec
from workers.codec.coolchic_3_4 import COOLCHIC_3_4
from workers.moves import MoveEvaluator, Piece
from workers.objective.network_rate import best_count
from workers.source import FrameInfo

_INTEGERS = 2
"""Integers of a network that are tried."""

SLOW_PASSES = 99
"""``refine_passes`` of a refinement that takes a while."""


class ToyPiece:
    """The integers of one network at one pair of steps; after every move it may be interrupted."""

    def __init__(self, spec: NetworkSpec, q_step: QStepPair, base: Choices, seconds_each: float) -> None:
        self.name = f"{spec.id} {q_step.weight:g} {q_step.bias:g}"
        self.spec, self.q_step, self.base = spec, q_step, dict(base)
        self.moves = list(product(range(_INTEGERS), (-1, 1)))
        self.integers: dict[str, list[int]] | None = None
        self.loss = self.loss_before = float("inf")
        self.measured = self.accepted = 0
        self.finished = False
        self._seconds_each = seconds_each

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:
        end = time.monotonic() + seconds
        if self.integers is None:
            rounded = evaluator.rounded(self.spec.id, self.q_step)
            assert rounded is not None
            self.integers = {name: list(values) for name, values in rounded.items()}
            self.loss = self.loss_before = evaluator.loss({**self.base, self.spec.id: self.choice})
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
        loss = evaluator.loss({**self.base, self.spec.id: self.choice})
        if loss < self.loss:
            self.loss = loss
            self.accepted += 1
        else:
            values[index] -= by

    @property
    def choice(self) -> Choice:
        """With the cheapest counts."""
        assert self.integers is not None
        found = {}
        for kind in KINDS:
            of_kind = [value for name in self.spec.names(kind) for value in self.integers[name]]
            found[kind] = best_count(torch.tensor(of_kind, dtype=torch.float32), COOLCHIC_3_4.exp_golomb)
        counts = Counts(*(found[kind][0] for kind in KINDS))
        bits = (found[kind][1] for kind in KINDS)
        return Choice(self.spec.id, self.q_step, counts, *bits, {k: tuple(v) for k, v in self.integers.items()})


class ToyRefinement:
    """One network after the other; of two pairs of steps, the better one is taken."""

    nested = True

    def __init__(self, networks: Sequence[NetworkSpec], choices: Choices, seconds_each: float) -> None:
        self._choices = dict(choices)
        self._networks = list(networks)
        self._told: dict[str, ToyPiece] = {}
        self._trials: list[Trial] = []
        self._seconds_each = seconds_each
        self.loss_before: float | None = None
        self.loss_after: float | None = None
        self._pieces = self._next()

    def _next(self) -> list[ToyPiece]:
        if not self._networks:
            return []
        spec = self._networks[0]
        weight, bias = self._choices[spec.id].q_step
        pairs = QStepPair(weight, bias), QStepPair(2 * weight, bias)
        return [ToyPiece(spec, pair, self._choices, self._seconds_each) for pair in pairs]

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
            losses, moves = (each.loss_before, each.loss), (0, each.measured, each.accepted)
            counts = each.choice.expgol_cnt
            self._trials.append(Trial(each.spec.id, each.q_step, 0, counts, *losses, *moves, 0.5, each is best))
        self.loss_before = tried[0].loss_before if self.loss_before is None else self.loss_before
        self.loss_after = best.loss
        self._choices[best.spec.id] = best.choice
        self._networks.pop(0)
        self._pieces = self._next()

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:
        for piece in self.pieces:
            while not piece.finished:
                piece.advance(evaluator, seconds)
            self.tell(piece)


def toy_refinement(
    mode: str, info: FrameInfo, grid: Grid, choices: Choices, options: RefineOptions
) -> ToyRefinement:
    """In place of :func:`sweep.search.refine.refinement.refinement`; a slow one where the passes say so."""
    assert mode in ("rdoq", "joint")
    assert list(choices) == [spec.id for spec in info.networks] == list(grid)
    return ToyRefinement(info.networks, choices, 0.2 if options.passes == SLOW_PASSES else 0.0)
