"""Sums over all tiles for many candidates; in a contest, for as long as a candidate can still win."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple

from torch import Tensor

from workers.candidates import QStepPair
from workers.measure.cost import Cost, Parameters, Sums, Tile, add
from workers.measure.parallel import Threads, one_thread

_ROUNDS = 32
"""Of a contest; after each of them the candidates that cannot win any more are cut."""

_LEAST_TASKS = 8
"""Tiles of groups in a round at least, for the threads not to wait for each other."""


@dataclass(eq=False)
class Contender:
    """Pairs that give the same parameters, and so are one candidate; and what is known of it.

    Attributes:
        parameters: of the network.
        total: sums over the tiles that were evaluated, zeros at first.
        pairs: of quantization steps that give these parameters.
        rate_nn_bit: bits of the networks, with the cheapest of the pairs.
        complete: whether these are all of them.
        seconds: time it took, its share where candidates were evaluated together.
    """

    parameters: Parameters
    total: Sums
    pairs: list[QStepPair] = field(default_factory=list)
    rate_nn_bit: float = math.inf
    complete: bool = False
    seconds: float = 0.0

    def add(self, pair: QStepPair, rate_nn_bit: int) -> None:
        """One more pair that gives these parameters."""
        self.pairs.append(pair)
        self.rate_nn_bit = min(self.rate_nn_bit, rate_nn_bit)


class _Group(NamedTuple):
    """Candidates that share their weights, and what gives their parts of a tile."""

    candidates: Sequence[Contender]
    evaluate: Callable[[Any], Tensor]


class Contest(Generic[Tile]):
    """Evaluates candidates.

    Args:
        cost: what is summed up.
        groups: candidates that share their weights are in a group together.
        loss: the loss, from sums over the tiles and the bits of the networks; it never falls where one of them
            grows.
        limit: of complete losses, which lie so near to the best that it may be beaten, from the best.
        threads: evaluate the tiles.
    """

    def __init__(
        self,
        cost: Cost[Tile],
        groups: Iterable[Sequence[Contender]],
        loss: Callable[[Sums, float], float],
        limit: Callable[[float], float],
        threads: Threads,
    ) -> None:
        self._cost = cost
        self._groups = [self._group(group) for group in groups]
        self._loss = loss
        self._limit = limit
        self._threads = threads
        self._best = math.inf  # complete loss

    def complete(self) -> None:
        """Evaluate every candidate in full."""
        self._evaluate(self._groups, self._cost.tiles)
        self._finish()

    def decide(self, best: float, expected: Sequence[float]) -> float:
        """Evaluate candidates, but cut those that cannot win.

        Partial sums are lower bounds, so a candidate is cut for certain: those that are complete in the end hold
        every one whose loss lies within the limit of the best.

        Args:
            best: complete loss that is known already, or infinity.
            expected: of each tile, about what it will add. After the poll, which finds a good candidate to begin
                with, the heaviest come first, for the bounds to rise early.

        Returns:
            The best complete loss that is known now.
        """
        self._best = best
        self._cut()
        poll = self._cost.poll
        order = sorted(set(range(len(expected))).difference(poll), key=lambda i: -expected[i])
        tiles = [self._cost.tiles[i] for i in order]
        self._evaluate(self._groups, [self._cost.tiles[i] for i in poll])
        polled = math.fsum(expected[i] for i in poll)
        self._complete_leader(tiles, math.fsum(expected) / polled if polled > 0 else 1.0)
        step = max(-(-len(tiles) // _ROUNDS), -(-_LEAST_TASKS // max(1, len(self._groups))))
        with one_thread():
            before: Callable[[], None] | None = None
            for start in range(0, len(tiles), step):
                self._cut()
                started = self._start(self._groups, tiles[start : start + step])
                # Only now is the round before waited for: no thread stands still between rounds.
                if before is not None:
                    before()
                before = started
            if before is not None:
                before()
        self._finish()
        return self._best

    def _complete_leader(self, remaining: Sequence[Tile], growth: float) -> None:
        """Evaluate in full whoever promises, after the poll, to be the best: its loss cuts the others.

        Args:
            remaining: tiles after the poll.
            growth: from the sum over the polled tiles to the sum over all.
        """
        promises = [
            (self._loss(tuple(part * growth for part in c.total), c.rate_nn_bit), c) for c in self._in_contest()
        ]
        better = [(promise, c) for promise, c in promises if promise < self._best]
        if better:
            _, leader = min(better, key=lambda item: item[0])
            self._evaluate([self._group([leader])], remaining)
            leader.complete = True
            self._best = min(self._best, self._bound(leader))

    def _cut(self) -> None:
        """Keep those that are not complete and may still win."""
        limit = self._limit(self._best)
        groups = []
        for group in self._groups:
            # What is not finite stays, to be found out as such.
            kept = [c for c in group.candidates if not c.complete and not limit < self._bound(c) < math.inf]
            if len(kept) == len(group.candidates):
                groups.append(group)
            elif kept:
                groups.append(self._group(kept))
        self._groups = groups

    def _finish(self) -> None:
        for candidate in self._in_contest():
            candidate.complete = True
            self._best = min(self._best, self._bound(candidate))

    def _bound(self, candidate: Contender) -> float:
        """The loss cannot be less: no tile adds less than nothing."""
        return self._loss(candidate.total, candidate.rate_nn_bit)

    def _in_contest(self) -> list[Contender]:
        return [candidate for group in self._groups for candidate in group.candidates]

    def _group(self, candidates: Sequence[Contender]) -> _Group:
        return _Group(candidates, self._cost.evaluator([candidate.parameters for candidate in candidates]))

    def _evaluate(self, groups: Sequence[_Group], tiles: Sequence[Tile]) -> None:
        """Add some tiles to the sums of some candidates."""
        with one_thread():
            self._start(groups, tiles)()

    def _start(self, groups: Sequence[_Group], tiles: Sequence[Tile]) -> Callable[[], None]:
        """Begin to evaluate some tiles; what this gives waits for them, and adds them to the sums."""
        work = [(group.evaluate, tile) for group in groups for tile in tiles]
        finish = self._threads.start(_timed, work, parallel=self._cost.parallel)
        return partial(self._add, groups, len(tiles), finish)

    def _add(
        self, groups: Sequence[_Group], n_tiles: int, finish: Callable[[], list[tuple[list[list[float]], float]]]
    ) -> None:
        parts = finish()
        for i, (candidates, _) in enumerate(groups):
            of_group = parts[i * n_tiles : (i + 1) * n_tiles]
            seconds = math.fsum(taken for _, taken in of_group) / len(candidates)
            for part, _ in of_group:
                for candidate, sums in zip(candidates, part, strict=True):
                    candidate.total = add(candidate.total, sums)
            for candidate in candidates:
                candidate.seconds += seconds


def _timed(work: tuple[Callable[[Tile], Tensor], Tile]) -> tuple[list[list[float]], float]:
    evaluate, tile = work
    start = time.perf_counter()
    # Plain numbers: small tensors that stay, between large ones that go, would tear the memory to pieces.
    part: list[list[float]] = evaluate(tile).tolist()
    return part, time.perf_counter() - start
