"""The refinement that a configuration asks for."""

from collections.abc import Callable

from sweep.config import Grid, Refining, pairs_of
from sweep.search.refine.interface import Refinement
from sweep.search.refine.refinement import refinement
from workers.candidates import Choices
from workers.source import FrameInfo


def refinement_factory(refining: Refining | None, grid: Grid) -> Callable[[FrameInfo, Choices], Refinement] | None:
    """Makes the refinement of a frame that has been swept; ``None`` where choices are not refined.

    Args:
        refining: how they are refined, if they are.
        grid: pairs of networks; those that it does not name have the pairs of their family.
    """
    if refining is None:
        return None
    mode, options = refining
    return lambda info, choices: refinement(mode, info, pairs_of(info.networks, grid), choices, options)
