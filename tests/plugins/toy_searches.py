"""A plugin: searches that measure a few pairs of each network, on many replicas or as one piece of work on one."""

from collections.abc import Mapping, Sequence

from sweep.config import Grid
from sweep.config.searches import SEARCHES
from workers.candidates import Candidate, Choice, Measurement
from workers.search import Request
from workers.source import FrameInfo


class Every:
    """Measures every n-th pair of one network after the other, and takes the best."""

    def __init__(self, grid: Grid, step: int, *, nested: bool) -> None:
        self.nested = nested
        self._grid = {network: pairs[::step] for network, pairs in grid.items()}
        self._measured: dict[Candidate, Measurement] = {}
        self._choices: dict[str, Choice] = {}
        self._asked = False

    @property
    def ready(self) -> bool:
        return not (self._asked or self.finished)

    @property
    def finished(self) -> bool:
        return len(self._choices) == len(self._grid)

    @property
    def choices(self) -> Mapping[str, Choice]:
        return self._choices

    @property
    def measurements(self) -> Sequence[Measurement]:
        return list(self._measured.values())

    def ask(self, size: int | None = None, parts: int = 1) -> Request:  # noqa: ARG002
        self._asked = True
        network = next(name for name in self._grid if name not in self._choices)
        candidates = (Candidate(network, pair) for pair in self._grid[network])
        return Request(tuple(candidates), tuple(self._choices.values()))

    def tell(self, request: Request, measurements: Sequence[Measurement]) -> None:  # noqa: ARG002
        self._asked = False
        self._measured |= {measurement.candidate: measurement for measurement in measurements}
        best = min(measurements, key=lambda measurement: measurement.loss)
        self._choices[best.candidate.network] = best.choice()

    def put_back(self, request: Request) -> None:  # noqa: ARG002
        self._asked = False


def every_third(_: FrameInfo, grid: Grid) -> Every:
    return Every(grid, 3, nested=False)


def every_third_nested(_: FrameInfo, grid: Grid) -> Every:
    return Every(grid, 3, nested=True)


SEARCHES.register("every_third", every_third)
SEARCHES.register("every_third_nested", every_third_nested)
