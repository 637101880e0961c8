"""Refinement of networks one after the other, each with the others as they are."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sweep.config.grid import Grid
from sweep.search.refine.descent import Descent, Rounds
from sweep.search.refine.plan import Plan
from workers.candidates import Choice, QStepPair, Trial
from workers.codec.network import NetworkSpec
from workers.moves import Integers


@dataclass
class Chain:
    """The networks that change the same part of the loss, in the order of the sweep, once each in a pass.

    In the first pass the pairs of steps around the best one so far are tried, until those around the best one have
    been; then the best few are taken to the end. Later passes start from the integers that are in force.

    Attributes:
        specs: of the networks.
        grid: their pairs.
        choices: that are in force, of all networks of the frame.
        loss: of the frame with them.
        bit_price: what a bit is worth in the loss.
        plan_of: how much is tried for a network.
    """

    specs: tuple[NetworkSpec, ...]
    grid: Grid
    choices: dict[str, Choice]
    loss: float
    bit_price: float
    plan_of: Callable[[Choice], Plan]
    trials: list[Trial] = field(default_factory=list)

    _number: int = 0
    _position: int = -1
    _settling: bool = False
    _waiting: dict[str, Descent] = field(default_factory=dict)
    _explored: dict[QStepPair, Descent] = field(default_factory=dict)
    _settled: list[Descent] = field(default_factory=list)

    @property
    def pieces(self) -> Sequence[Descent]:
        """Those that have not been told of; none at the end of a pass."""
        return list(self._waiting.values())

    def begin_pass(self, number: int) -> None:
        """Begin with the first network again."""
        self._number, self._position = number, -1
        self._next_network()

    def tell(self, piece: Descent) -> bool:
        """Take in a finished piece; whether it is one of these."""
        if piece.name not in self._waiting:
            return False
        del self._waiting[piece.name]
        if self._settling:
            self._settled.append(piece)
        else:
            self._explored[piece.q_step] = piece
        if not self._waiting:
            self._continue()
        return True

    # --- one network

    @property
    def _spec(self) -> NetworkSpec:
        return self.specs[self._position]

    def _next_network(self) -> None:
        self._position += 1
        self._settling, self._explored, self._settled = False, {}, []
        if self._position == len(self.specs):
            return
        choice = self.choices[self._spec.id]
        if self._number == 0:
            self._explore_around(choice.q_step)
        else:
            self._settling = True
            self._add("again", choice.q_step, self._plan.settle, choice.integers or None)

    def _explore_around(self, pair: QStepPair) -> None:
        plan, grid = self._plan, set(self.grid[self._spec.id])
        for wanted in plan.around(pair):
            if wanted in grid and wanted not in self._explored:
                self._add("explore", wanted, plan.explore, None)
        if not self._waiting:
            self._settle()

    @property
    def _plan(self) -> Plan:
        return self.plan_of(self.choices[self._spec.id])

    def _add(self, stage: str, pair: QStepPair, rounds: Rounds, start: Integers | None) -> None:
        steps = ",".join(f"{math.log2(step):g}" for step in pair)
        name = f"{self._number}:{self._spec.id}:{stage}:{steps}"
        self._waiting[name] = Descent(
            name, self._spec, pair, dict(self.choices), self.loss, self.bit_price, rounds, start, self._number
        )

    def _ranked(self) -> list[Descent]:
        finite = [piece for piece in self._explored.values() if math.isfinite(piece.loss_after)]
        return sorted(finite, key=lambda piece: (piece.loss_after, piece.q_step))

    def _continue(self) -> None:
        if self._settling:
            self._choose()
            return
        ranked = self._ranked()
        if ranked:
            self._explore_around(ranked[0].q_step)
        else:
            self._settle()

    def _settle(self) -> None:
        self._settling = True
        plan = self._plan
        for piece in self._ranked()[: plan.settled]:
            self._add("settle", piece.q_step, plan.settle, piece.integers)
        if not self._waiting:
            self._choose()

    def _choose(self) -> None:
        best = min(self._settled, key=lambda piece: (piece.loss_after, piece.name), default=None)
        chosen = best is not None and best.loss_after < self.loss
        for piece in sorted(self._settled, key=lambda piece: piece.name):
            earlier = self._explored.get(piece.q_step)
            trial = piece.trial
            if earlier is not None and piece.start == earlier.integers:
                trial = _joined(earlier.trial, trial)
            self.trials.append(trial._replace(chosen=chosen and piece is best))
        settled = {piece.q_step for piece in self._settled}
        self.trials += [self._explored[pair].trial for pair in sorted(self._explored) if pair not in settled]
        if best is not None and chosen:
            self.choices[self._spec.id] = best.choice()
            self.loss = best.loss_after
        self._next_network()


def _joined(first: Trial, second: Trial) -> Trial:
    """One trial of two that followed each other."""
    return second._replace(
        loss_before=first.loss_before,
        moves_screened=first.moves_screened + second.moves_screened,
        moves_measured=first.moves_measured + second.moves_measured,
        moves_accepted=first.moves_accepted + second.moves_accepted,
        seconds=first.seconds + second.seconds,
    )
