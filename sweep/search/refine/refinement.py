"""The refinement of one frame: passes over its networks, and the measurement that decides at the end."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product

from sweep.config.grid import Grid
from sweep.config.refining import RefineMode, RefineOptions
from sweep.search.refine.chain import Chain
from sweep.search.refine.descent import Descent
from sweep.search.refine.plain_loss import PlainLosses
from sweep.search.refine.plan import Plan, integers_plan, joint_plan
from workers.candidates import Choice, Choices, Trial
from workers.moves import MoveEvaluator, Piece
from workers.source import FrameInfo

_BEFORE, _AFTER = "before", "after"


class FrameRefinement:
    """Refines the choices of one frame: a :class:`~sweep.search.refine.interface.Refinement`.

    Networks that change the bits of the latents and those that change the picture do not depend on each other: the
    loss is a sum. Each of the two groups has a chain of its own.

    Args:
        mode: see :func:`refinement`.
        info: of the frame.
        grid: pairs per network.
        choices: of the sweep.
        options: how far it goes.
    """

    nested = True

    def __init__(
        self, mode: RefineMode, info: FrameInfo, grid: Grid, choices: Choices, options: RefineOptions
    ) -> None:
        self._mode, self._options = mode, options
        self._pixels = info.height * info.width
        self._bit_price = info.lmbda / self._pixels
        self._specs, self._grid = info.networks, grid
        self._swept = {spec.id: choices[spec.id] for spec in info.networks}
        self._chains: list[Chain] = []
        self._number = 0
        self._final: dict[str, Choice] | None = None
        self._losses: list[float] = []
        self._plain: PlainLosses | None = PlainLosses(_BEFORE, (self._swept,))
        self._loss_of_pass = 0.0

    # --- what it came to

    @property
    def finished(self) -> bool:
        """Whether the choices are final."""
        return self._final is not None

    @property
    def choices(self) -> Mapping[str, Choice]:
        """The best ones so far, one for each network; at first those of the sweep."""
        return self._combined(tuple(range(len(self._chains)))) if self._final is None else self._final

    @property
    def trials(self) -> Sequence[Trial]:
        """What was tried so far, in an order that depends on nothing."""
        order = {spec.id: i for i, spec in enumerate(self._specs)}
        found = [trial for chain in self._chains for trial in chain.trials]
        return sorted(found, key=lambda trial: (trial.number, order[trial.network]))

    @property
    def loss_before(self) -> float | None:
        """Of the sweep's choices, by the plain arithmetic; ``None`` until finished."""
        return self._losses[0] if self.finished else None

    @property
    def loss_after(self) -> float | None:
        """Of the final choices, likewise; never above ``loss_before``."""
        return min(self._losses) if self.finished else None

    # --- work

    @property
    def pieces(self) -> Sequence[Piece]:
        """Those that are ready and have not been told of; none once it is finished."""
        if self._plain is not None:
            return [self._plain]
        return [piece for chain in self._chains for piece in chain.pieces]

    def tell(self, piece: Piece) -> None:
        """Take in a piece that is finished; one that was told of already changes nothing."""
        if isinstance(piece, PlainLosses):
            if self._plain is not None and piece.name == self._plain.name:
                self._take_losses(piece)
        elif isinstance(piece, Descent) and any(chain.tell(piece) for chain in self._chains):
            self._continue()

    def advance(self, evaluator: MoveEvaluator, seconds: float) -> None:
        """All on one replica: work for about so long, piece after piece, or to the end."""
        end = time.monotonic() + seconds
        while not self.finished:
            piece = self.pieces[0]
            while not piece.finished:
                piece.advance(evaluator, end - time.monotonic())
                if time.monotonic() >= end and not piece.finished:
                    return
            self.tell(piece)
            if time.monotonic() >= end:
                return

    def _take_losses(self, piece: PlainLosses) -> None:
        self._plain = None
        self._losses += piece.losses
        if piece.name == _BEFORE:
            self._make_chains(piece.losses[0])
            self._begin_pass()
        else:
            best = min(range(len(self._losses)), key=self._losses.__getitem__)  # the sweep's own on a tie
            self._final = dict(self._swept if best == 0 else piece.choices[best - 1])

    def _make_chains(self, loss: float) -> None:
        effects = list(dict.fromkeys((spec.coolchic, spec.effect) for spec in self._specs))
        plan_of = partial(_plan_of, self._mode, self._pixels)
        for effect in effects:
            specs = tuple(spec for spec in self._specs if (spec.coolchic, spec.effect) == effect)
            self._chains.append(Chain(specs, self._grid, dict(self._swept), loss, self._bit_price, plan_of))

    def _begin_pass(self) -> None:
        self._loss_of_pass = self._gain()
        for chain in self._chains:
            chain.begin_pass(self._number)
        self._continue()

    def _gain(self) -> float:
        return sum(self._losses[0] - chain.loss for chain in self._chains)

    def _continue(self) -> None:
        if any(chain.pieces for chain in self._chains):
            return
        self._number += 1
        gained = self._gain() - self._loss_of_pass
        passes = self._options.passes if self._mode == "joint" else 1
        if self._number < passes and gained > self._options.tolerance * self._losses[0]:
            self._begin_pass()
            return
        # The sums of the plain arithmetic are others: each part of what was found is taken only if it holds there.
        parts = [range(2)] * len(self._chains)
        subsets = [tuple(i for i, taken in enumerate(subset) if taken) for subset in product(*parts) if any(subset)]
        self._plain = PlainLosses(_AFTER, tuple(self._combined(subset) for subset in reversed(subsets)))

    def _combined(self, chains: Sequence[int]) -> dict[str, Choice]:
        """The sweep's choices, but those that some chains found."""
        found = dict(self._swept)
        for i in chains:
            found |= {spec.id: self._chains[i].choices[spec.id] for spec in self._chains[i].specs}
        return found


def _plan_of(mode: RefineMode, pixels: int, choice: Choice) -> Plan:
    return joint_plan(pixels) if mode == "joint" else integers_plan(pixels, choice)


def refinement(
    mode: RefineMode, info: FrameInfo, grid: Grid, choices: Choices, options: RefineOptions | None = None
) -> FrameRefinement:
    """The refinement of a frame.

    Args:
        mode: ``rdoq`` for integers alone, with the steps and counts of the sweep; ``joint`` for steps, counts and
            integers together.
        info: of the frame.
        grid: pairs per network, by id.
        choices: of the sweep, for all networks.
        options: how far it goes.
    """
    return FrameRefinement(mode, info, grid, choices, options or RefineOptions())
