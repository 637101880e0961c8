from .api import FrameSweep, quantize_model, sweep_frame
from .config import make_grid, named_grid
from .results import (
    choose_at,
    compare_jobs,
    cost_of_steps,
    iter_rd_table,
    pareto_front,
    read_choices,
    read_frames,
    read_rd_table,
    read_refined,
    read_trials,
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
    "read_choices",
    "read_frames",
    "read_rd_table",
    "read_refined",
    "read_trials",
    "sweep_frame",
]
