"""Sums over all tiles for many candidates; in a contest, for as long as a candidate can still win."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic

from torch import Tensor

from workers.measure.cost import Cost, Parameters, Tile
from workers.measure.parallel import Threads
from workers.measure.row import NEAR_TIE
from workers.quantize import QStepPair

_ROUNDS = 24
"""Of a contest; after each of them the candidates that cannot win any more are cut."""

_LEAST_TASKS = 16
"""Tiles of groups in a round at least, for the threads not to wait for each other."""

_WORTHWHILE = 1e-3
"""Fraction by which a candidate must promise to be better than the best, to be evaluated in full out of turn."""


@dataclass(eq=False)
class Candidate:
    """A candidate, and what is known of it.

    Attributes:
        parameters: of the module.
        pairs: of quantization steps that give these parameters.
        rate_nn_bit: bits of the networks, with the cheapest of the pairs.
        total: sum over the tiles that were evaluated.
        complete: whether these are all of them.
        seconds: time it took, its share where candidates were evaluated together.
    """

    parameters: Parameters
    pairs: list[QStepPair] = field(default_factory=list)
    rate_nn_bit: float = math.inf
    total: float = 0.0
    complete: bool = False
    seconds: float = 0.0

    def add(self, pair: QStepPair, rate_nn_bit: int) -> None:
        """One more pair that gives these parameters."""
        self.pairs.append(pair)
        self.rate_nn_bit = min(self.rate_nn_bit, rate_nn_bit)


class Contest(Generic[Tile]):
    """Evaluates candidates.

    Args:
        cost: what is summed up.
        groups: candidates that share their weights are in a group together.
        loss: the loss, from a sum over the tiles and the bits of the networks; it never falls where one of them
            grows.
        threads: evaluate the tiles.
    """

    def __init__(
        self,
        cost: Cost[Tile],
        groups: Iterable[Sequence[Candidate]],
        loss: Callable[[float, float], float],
        threads: Threads,
    ) -> None:
        self._cost = cost
        self._groups = [list(group) for group in groups]
        self._loss = loss
        self._threads = threads
        self._best = math.inf  # complete loss

    def complete(self) -> None:
        """Evaluate every candidate in full."""
        self._evaluate(self._groups, self._cost.tiles)
        self._finish()

    def decide(self, best: float, expected: Sequence[float]) -> float:
        """Evaluate candidates, but cut those that cannot win.

        Partial sums are lower bounds, so a candidate is cut for certain: those that are complete in the end hold
        every one whose loss lies within :data:`~workers.measure.row.NEAR_TIE` of the best.

        Args:
            best: complete loss that is known already, or infinity.
            expected: of each tile, about what it will add. The heaviest come first, for the bounds to rise early.

        Returns:
            The best complete loss that is known now.
        """
        self._best = best
        self._cut()
        order = sorted(range(len(expected)), key=lambda i: -expected[i])
        tiles = [self._cost.tiles[i] for i in order]
        weights = [expected[i] for i in order]
        step = max(-(-len(tiles) // _ROUNDS), -(-_LEAST_TASKS // max(1, len(self._groups))))
        start = 0
        while start < len(tiles):
            # The heaviest tile alone tells the hopeless from the others.
            end = start + step if start else 1
            self._evaluate(self._groups, tiles[start:end])
            start = end
            if end < len(tiles):
                self._cut()
                self._complete_leader(tiles, weights, end)
        self._finish()
        return self._best

    def _complete_leader(self, tiles: Sequence[Tile], weights: list[float], end: int) -> None:
        """Evaluate in full whoever promises to be the best: its loss cuts the others.

        Args:
            tiles: all of them.
            weights: about what each adds; becomes what they added to the leader.
            end: how many have been evaluated.
        """
        done = math.fsum(weights[:end])
        growth = math.fsum(weights) / done if done > 0 else 1.0
        promises = [(self._loss(c.total * growth, c.rate_nn_bit), c) for c in self._in_contest()]
        promise, leader = min(promises, key=lambda item: item[0], default=(math.inf, None))
        if leader is not None and promise < self._best * (1 - _WORTHWHILE):
            scale = leader.total / done if done > 0 else 1.0
            parts = self._evaluate([[leader]], tiles[end:])
            weights[:end] = [weight * scale for weight in weights[:end]]
            weights[end:] = [value for (value,) in parts]
            leader.complete = True
            self._best = min(self._best, self._bound(leader))
            self._cut()

    def _cut(self) -> None:
        """Keep those that are not complete and may still win."""
        limit = self._best * (1 + NEAR_TIE)
        # What is not finite stays, to be found out as such.
        groups = (
            [c for c in group if not c.complete and not limit < self._bound(c) < math.inf] for group in self._groups
        )
        self._groups = [group for group in groups if group]

    def _finish(self) -> None:
        for candidate in self._in_contest():
            candidate.complete = True
            self._best = min(self._best, self._bound(candidate))

    def _bound(self, candidate: Candidate) -> float:
        """The loss cannot be less: no tile adds less than nothing."""
        return self._loss(candidate.total, candidate.rate_nn_bit)

    def _in_contest(self) -> list[Candidate]:
        return [candidate for group in self._groups for candidate in group]

    def _evaluate(self, groups: Sequence[Sequence[Candidate]], tiles: Sequence[Tile]) -> list[list[float]]:
        """Add some tiles to the sums of some candidates.

        Returns:
            The parts, one of each candidate, of all tiles of the first group, then of the next.
        """
        evaluators = [self._cost.evaluator([c.parameters for c in group]) for group in groups]
        work = [(evaluate, tile) for evaluate in evaluators for tile in tiles]
        parts = self._threads.map(_timed, work, parallel=self._cost.parallel)
        for i, group in enumerate(groups):
            of_group = parts[i * len(tiles) : (i + 1) * len(tiles)]
            seconds = math.fsum(taken for _, taken in of_group) / len(group)
            for part, _ in of_group:
                for candidate, value in zip(group, part, strict=True):
                    candidate.total += value
            for candidate in group:
                candidate.seconds += seconds
        return [part for part, _ in parts]


def _timed(work: tuple[Callable[[Tile], Tensor], Tile]) -> tuple[list[float], float]:
    evaluate, tile = work
    start = time.perf_counter()
    # Plain numbers: small tensors that stay, between large ones that go, would tear the memory to pieces.
    part: list[float] = evaluate(tile).tolist()
    return part, time.perf_counter() - start
