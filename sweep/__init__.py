"""The job: plans, hands out, gathers, chooses, writes and shows.

Names are loaded when they are first used: tables can be read without loading Ray or torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from sweep.launch import foreign_workers

if not foreign_workers():
    import_module("workers")  # before torch: it sets how threads of torch wait

if TYPE_CHECKING:
    from sweep.api import FrameSweep, quantize_model, sweep_frame
    from sweep.config import make_grid, named_grid
    from sweep.results import (
        choose_at,
        compare_jobs,
        cost_of_steps,
        iter_rd_table,
        pareto_front,
        read_frames,
        read_rd_table,
    )

__all__ = [
    "FrameSweep",
    "choose_at",
    "compare_jobs",
    "cost_of_steps",
    "iter_rd_table",
    "make_grid",
    "named_grid",
    "pareto_front",
    "quantize_model",
    "read_frames",
    "read_rd_table",
    "sweep_frame",
]

_MODULES = {
    "FrameSweep": "sweep.api",
    "quantize_model": "sweep.api",
    "sweep_frame": "sweep.api",
    "make_grid": "sweep.config",
    "named_grid": "sweep.config",
}
"""Where names come from; all others are from ``sweep.results``."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if problem := foreign_workers():
        raise ImportError(problem)
    return getattr(import_module(_MODULES.get(name, "sweep.results")), name)
