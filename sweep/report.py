"""The report: what a job found, as one file to look at."""

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined

from sweep.parquet import read_table
from sweep.reading import read_rd_table
from sweep.results import FRAMES_FILE
from sweep.storage import Storage

REPORT_FILE = "report.html"

DETAILED_FRAMES = 50
"""Frames whose pairs are drawn, the first that have any: the file stays small enough to open."""

LISTED_FRAMES = 1000
"""Frames that are listed, failed ones first; all of them are in the table."""

LEVELS = 8
"""Shades of the heat maps."""

_SHADE_FROM, _SHADE_TO = 1e-4, 10.0  # excess over the best loss of the lightest shade, and of the darkest


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Cell(NamedTuple):
    """A pair in a heat map.

    Attributes:
        x: column, from 0: the bias step.
        y: row, from 0: the weight step.
        kind: ``level0`` … for a loss, else the status.
        mark: ``chosen``, ``plain`` for a near-tie, or nothing.
        title: exact values.
    """

    x: int
    y: int
    kind: str
    mark: str
    title: str


class HeatMap(NamedTuple):
    """The loss of a module over its pairs.

    Attributes:
        module: its name.
        weights: labels of the rows.
        biases: labels of the columns.
        cells: every pair.
        choice: what was chosen, for the table under it; ``None`` if nothing was.
        warnings: what a reader should know of it.
    """

    module: str
    weights: list[str]
    biases: list[str]
    cells: list[Cell]
    choice: Mapping[str, Any] | None
    warnings: list[str]

    @property
    def weight(self) -> str:
        """Label of the weight step that was chosen."""
        return power(self.choice["q_step_weight"]) if self.choice else ""

    @property
    def bias(self) -> str:
        """Label of the bias step that was chosen."""
        return power(self.choice["q_step_bias"]) if self.choice else ""


def write_report(out: str) -> str:
    """Write the report of a job anew from its results.

    Args:
        out: folder or URI of the results.

    Returns:
        Where it is.

    Raises:
        ResultsError: there are no results, or the report cannot be written.
    """
    storage = Storage(out)
    table = read_table(storage, FRAMES_FILE)
    n_done = pc.sum(pc.equal(table["status"], "done")).as_py() or 0
    failures_first = table.sort_by([("status", "descending")])
    frames = failures_first.slice(0, LISTED_FRAMES).to_pandas().to_dict("records")
    # Cut after the frames without rows are left out: fifty that failed early would otherwise be all there is.
    with_maps = ({"record": frame, "maps": maps} for frame in frames if (maps := _maps(out, frame)))
    detailed = list(islice(with_maps, DETAILED_FRAMES))
    environment = Environment(
        loader=PackageLoader("sweep"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        frames=frames,
        detailed=detailed,
        n_frames=table.num_rows,
        n_done=n_done,
        levels=[_threshold(level) for level in range(LEVELS)],
        version=version("qsweep"),
    )
    storage.write(REPORT_FILE, page.encode())
    return storage.describe(REPORT_FILE)


def _maps(out: str, record: Mapping[Any, Any]) -> list[HeatMap]:
    """Heat maps of a frame, none if nothing of it was measured."""
    return heat_maps(read_rd_table(out, frames=[record["frame"]]))


def heat_maps(table: pd.DataFrame) -> list[HeatMap]:
    """Heat maps of the modules of one frame, in the order in which they were settled."""
    return [
        _heat_map(str(module), rows.to_dict("records"))
        for module, rows in table.groupby("module", observed=True, sort=True)
    ]


def _heat_map(module: str, rows: Sequence[Mapping[Any, Any]]) -> HeatMap:
    weights = sorted({row["q_step_weight"] for row in rows})
    biases = sorted({row["q_step_bias"] for row in rows})
    best = min((row["loss"] for row in rows if row["status"] == "ok"), default=math.nan)
    cells = []
    for row in rows:
        ok = row["status"] == "ok"
        pair = f"weight {power(row['q_step_weight'])}, bias {power(row['q_step_bias'])}"
        excess = row["loss"] / best - 1 if ok and best > 0 else 0.0
        cells.append(
            Cell(
                biases.index(row["q_step_bias"]),
                weights.index(row["q_step_weight"]),
                f"level{_level(excess)}" if ok else str(row["status"]),
                "chosen" if row["chosen"] else "plain" if row["arithmetic"] == "plain" else "",
                f"{pair}: loss {row['loss']:.8g}, {excess:.4%} above the best"
                if ok
                else f"{pair}: {row['status']}{_at_least(row['loss_lower_bound'])}",
            )
        )
    choice = next((row for row in rows if row["chosen"]), None)
    labels = [power(step) for step in weights], [power(step) for step in biases]
    return HeatMap(module, *labels, cells, choice, _warnings(choice, weights, biases))


def _at_least(bound: float) -> str:
    return "" if math.isnan(bound) else f", loss at least {bound:.8g}"


def _warnings(choice: Mapping[Any, Any] | None, weights: Sequence[float], biases: Sequence[float]) -> list[str]:
    if choice is None:
        return ["No pair of this module can be used: see what marks its cells."]
    warnings = []
    for kind, steps in (("weight", weights), ("bias", biases)):
        step = choice[f"q_step_{kind}"]
        if len(steps) > 1 and step in (steps[0], steps[-1]):
            where = "finest" if step == steps[0] else "coarsest"
            warnings.append(
                f"The {kind} step that won is the {where} of the grid: one beyond it may be better still."
            )
    return warnings


def _level(excess: float) -> int:
    """Shade of an excess over the best loss, on a logarithmic scale."""
    if excess <= _SHADE_FROM:
        return 0
    position = math.log(excess / _SHADE_FROM) / math.log(_SHADE_TO / _SHADE_FROM)
    return min(LEVELS - 1, 1 + int(position * (LEVELS - 1)))


def _threshold(level: int) -> str:
    """Excess from which on a shade is used, for the legend."""
    if level == 0:
        return "best"
    excess = _SHADE_FROM * (_SHADE_TO / _SHADE_FROM) ** ((level - 1) / (LEVELS - 1))
    return f"+{100 * excess:.2g} %" if excess < 1 else f"+{100 * excess:.0f} %"


def power(step: float) -> str:
    """A step as the power of two that it is, such as 2⁻⁸."""
    return "2" + str(round(math.log2(step))).translate(_SUPERSCRIPTS)
