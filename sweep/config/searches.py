"""Searches by name: what ``sweep.mode`` of the configuration accepts."""

from collections.abc import Callable

from sweep.config.grid import Grid, pairs_of
from workers.registry import Registry
from workers.search import Search
from workers.source import FrameInfo

SearchFactory = Callable[[FrameInfo, Grid], Search]
"""Makes the search of a frame that has been opened, from the pairs of its networks."""

SEARCHES: Registry[SearchFactory] = Registry(
    "search",
    {"full": "sweep.search.grid_search:full", "winner": "sweep.search.grid_search:winner_only"},
)
"""Searches by name; plugins add to them."""


def search_factory(mode: str, grid: Grid) -> Callable[[FrameInfo], Search]:
    """Makes the search of a frame that has been opened.

    Args:
        mode: name of a search.
        grid: pairs of networks; those that it does not name have the pairs of their family.

    Raises:
        KeyError: there is no such search.
    """
    make = SEARCHES[mode]
    return lambda info: make(info, pairs_of(info.networks, grid))
