"""The job: plans, hands out, gathers, chooses, writes and shows."""

import workers  # noqa: F401  # before torch: see there
from sweep.api import FrameSweep, quantize_model, sweep_frame
from sweep.grid import make_grid, named_grid
from sweep.reading import read_rd_table

__all__ = ["FrameSweep", "make_grid", "named_grid", "quantize_model", "read_rd_table", "sweep_frame"]
