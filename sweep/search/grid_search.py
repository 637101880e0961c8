"""The sweep: every pair of each network's grid is measured, network by network, and the least loss wins."""

import math
from collections import deque
from collections.abc import Mapping, Sequence

from sweep.config.grid import Grid
from sweep.search.winner import near_ties, winner
from workers.candidates import Candidate, Choice, Measurement, QStepPair
from workers.measure import ErrorBound
from workers.search import Request
from workers.source import FrameInfo


class GridSearch:
    """Candidates of a grid, the networks one after the other, each with those before it quantized.

    Args:
        grid: per network, in the order of the sweep, its pairs.
        bound: of the error of a loss that the engine measures: what it cannot decide is measured plainly.
        prune: whether candidates are measured only as far as they can still win.
    """

    def __init__(self, grid: Grid, bound: ErrorBound, *, prune: bool) -> None:
        self._grid = dict(grid)
        self._bound = bound
        self._prune = prune
        self._measured: dict[Candidate, Measurement] = {}
        self._choices: dict[str, Choice] = {}
        self._network = ""
        self._waiting: deque[QStepPair] = deque()  # of the current network, not asked for
        self._asked: set[Candidate] = set()  # not answered
        self._ties: tuple[Candidate, ...] = ()  # to be measured by the plain arithmetic, not asked for
        self._next_network()

    nested = False
    """Its candidates are measured on many replicas at a time."""

    @property
    def ready(self) -> bool:
        """Whether there is something to ask for."""
        return bool(self._waiting or self._ties)

    @property
    def finished(self) -> bool:
        """Whether every network has its choice."""
        return not self._network

    @property
    def choices(self) -> Mapping[str, Choice]:
        """Choices by network."""
        return self._choices

    @property
    def measurements(self) -> Sequence[Measurement]:
        """In grid order."""
        candidates = (Candidate(network, pair) for network, pairs in self._grid.items() for pair in pairs)
        return [self._measured[candidate] for candidate in candidates if candidate in self._measured]

    def ask(self, size: int | None = None, parts: int = 1) -> Request:
        """The next pairs: of whole weight steps, whose first product is shared, if no size is given."""
        base = tuple(self._choices.values())
        if self._ties:
            request = Request(self._ties, base, plain=True)
            self._ties = ()
        else:
            best = self._best_loss() if self._prune else None
            candidates = (Candidate(self._network, pair) for pair in self._take(size, parts))
            request = Request(tuple(candidates), base, best=best)
        self._asked.update(request.candidates)
        return request

    def _take(self, size: int | None, parts: int) -> list[QStepPair]:
        whole_steps = size is None
        most = -(-len(self._grid[self._network]) // parts) if size is None else size
        pairs = [self._waiting.popleft()]
        while self._waiting and (
            len(pairs) < most or (whole_steps and self._waiting[0].weight == pairs[-1].weight)
        ):
            pairs.append(self._waiting.popleft())
        return pairs

    def tell(self, request: Request, measurements: Sequence[Measurement]) -> None:
        """Note what was measured; once the network is complete, choose, or ask for its near-ties once more."""
        self._asked.difference_update(request.candidates)
        for measurement in measurements:
            self._measured[measurement.candidate] = measurement
        if not self._asked and not self.ready:
            self._choose()

    def put_back(self, request: Request) -> None:
        """Ask for some candidates again, first of all."""
        self._asked.difference_update(request.candidates)
        if request.plain:
            self._ties = request.candidates
        else:
            self._waiting.extendleft(candidate.edit for candidate in reversed(request.candidates))

    def _choose(self) -> None:
        measured = [self._measured[Candidate(self._network, pair)] for pair in self._grid[self._network]]
        self._ties = tuple(measurement.candidate for measurement in near_ties(measured, self._bound))
        if not self._ties:
            self._choices[self._network] = winner(measured).choice()
            self._next_network()

    def _next_network(self) -> None:
        self._network = next((network for network in self._grid if network not in self._choices), "")
        self._waiting.extend(self._grid.get(self._network, ()))

    def _best_loss(self) -> float:
        """Best loss of the network so far, infinite if there is none."""
        losses = (m.loss for candidate, m in self._measured.items() if candidate.network == self._network)
        return min(losses, default=math.inf)


def full(info: FrameInfo, grid: Grid) -> GridSearch:
    """Every pair is measured in full."""
    return GridSearch(grid, _bound_of(info), prune=False)


def winner_only(info: FrameInfo, grid: Grid) -> GridSearch:
    """A pair is measured only as far as it can still win; the choices are the same."""
    return GridSearch(grid, _bound_of(info), prune=True)


def _bound_of(info: FrameInfo) -> ErrorBound:
    return ErrorBound.of_frame(
        info.height,
        info.width,
        info.frame_data_type,
        info.bitdepth,
        info.lmbda,
        info.precision,
        info.n_together,
        info.greatest_weight,
    )
