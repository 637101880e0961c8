"""What the figures of a frame are drawn from: rows of its table, ready for JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sweep.report.terms import (
    CHOSEN,
    NEAR_TIE,
    NON_FINITE,
    OVERFLOW,
    PLURALS,
    PRUNED,
    Columns,
    Records,
    edge_of,
    exponent,
    network_name,
    with_shares,
)
from sweep.results import pareto_front
from workers.candidates import KINDS

_NOT_CHOSEN = "No pair of this module was chosen: the marks of its cells tell why, or the frame failed before."

_MARKS = {"overflow": OVERFLOW, "non_finite": NON_FINITE, "pruned": PRUNED}


Network = tuple[str, str, str]
"""Frame, cool-chic and module."""

_NETWORK = ["frame", "coolchic", "module"]


def pairs(rows: pd.DataFrame, pixels: Mapping[str, int]) -> dict[Network, Columns]:
    """Pairs of some frames, in grid order.

    Args:
        rows: of :func:`~sweep.read_rd_table`, of each (frame, coolchic, module) all or none.
        pixels: luma samples of each frame.

    Returns:
        By frame, cool-chic and module, a list per column: ``weight`` and ``bias`` are exponents of two; ``mark`` is
        what the cell is marked with; ``front`` tells whether no pair has both less rate and less distortion;
        ``excess`` is the loss above the best one, as a fraction; ``bound`` the least loss that a pruned pair can
        have. What was not measured is ``None``.
    """
    rows = rows.reset_index(drop=True)
    floats = {
        name: rows[name].to_numpy(dtype="float64", na_value=np.nan)
        for name in ("loss", "psnr_db", "rate_latent_bit", "rate_nn_bit", "loss_lower_bound")
    }
    weight_bit, bias_bit = (rows[f"rate_{kind}_bit"].to_numpy(dtype="float64", na_value=np.nan) for kind in KINDS)
    groups = rows.groupby(_NETWORK, observed=True)
    best = groups.loss.transform("min").to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.where(best > 0, floats["loss"] / best - 1, floats["loss"] * 0)
    n_pixels = rows.frame.astype(str).map(pixels).to_numpy()
    columns: Columns = {
        "weight": _exponents(rows.q_step_weight),
        "bias": _exponents(rows.q_step_bias),
        "status": rows.status.tolist(),
        "mark": _marks(rows),
        "front": rows.index.isin(pareto_front(rows).index).tolist(),
        "loss": _numbers(floats["loss"]),
        "bound": _numbers(floats["loss_lower_bound"]),
        "excess": _numbers(excess.round(10)),
        "bpp": _numbers(((floats["rate_latent_bit"] + floats["rate_nn_bit"]) / n_pixels).round(10)),
        # A perfect frame has an infinite PSNR, which no axis shows.
        "psnr_db": _numbers(floats["psnr_db"].round(10)),
        "nn_bit": _numbers(weight_bit + bias_bit),
    }
    positions: Mapping[Any, Any] = groups.indices
    return {
        key: {name: [column[k] for k in of_group] for name, column in columns.items()}
        for key, of_group in positions.items()
    }


def _marks(rows: pd.DataFrame) -> list[str | None]:
    """What each cell is marked with, if with anything."""
    marks = [_MARKS.get(status) for status in rows.status]
    chosen = rows.chosen.to_numpy()
    for index in np.flatnonzero((rows.status == "ok") & ((rows.arithmetic == "plain") | chosen)):
        marks[index] = CHOSEN if chosen[index] else NEAR_TIE
    return marks


def _exponents(steps: "pd.Series[float]") -> list[int]:
    exponents: list[int] = (np.frexp(steps.to_numpy())[1] - 1).tolist()
    return exponents


def _numbers(values: "np.ndarray[Any, Any]") -> list[float | None]:
    """Finite numbers; JSON knows no others."""
    finite = np.isfinite(values).tolist()
    return [value if is_finite else None for value, is_finite in zip(values.tolist(), finite, strict=True)]


def records(columns: Columns) -> Records:
    """Columns as the records that a figure is drawn from."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def winners(rows: pd.DataFrame) -> dict[Network, dict[str, Any]]:
    """The pairs that were chosen.

    Args:
        rows: of :func:`~sweep.read_rd_table`, of each (frame, coolchic, module) all or none.

    Returns:
        By frame, cool-chic and module: ``weight`` and ``bias``, exponents of two; their counts and bits, and the
        ``loss``; and ``warnings``, what a reader of the heat map should know. Only those are there where nothing
        was chosen.
    """
    steps = [f"q_step_{kind}" for kind in KINDS]
    groups = rows.groupby(_NETWORK, observed=True)[steps]
    finest, coarsest = groups.min().to_dict("index"), groups.max().to_dict("index")
    found: dict[Any, dict[str, Any]] = {key: {"warnings": [_NOT_CHOSEN]} for key in finest}
    for row in rows[rows.chosen].to_dict("records"):
        key = (row["frame"], row["coolchic"], row["module"])
        warnings = []
        for kind, step in zip(KINDS, steps, strict=True):
            edge = edge_of(row[step], finest[key][step], coarsest[key][step])
            if edge:
                text = f"The {kind} step that won is the {edge} of the grid: one beyond it may be better still."
                warnings.append(text)
        names = ("expgol_cnt_weight", "rate_weight_bit", "expgol_cnt_bias", "rate_bias_bit", "loss")
        exponents = {kind: exponent(row[step]) for kind, step in zip(KINDS, steps, strict=True)}
        found[key] = {name: row[name] for name in names} | exponents | {"warnings": warnings}
    return found


def parts(record: Mapping[str, Any], choices: Iterable[Mapping[str, Any]]) -> Records:
    """Where the bits of a frame go, as estimated: to its latents, and to each network's weights and biases.

    Args:
        record: of ``frames.parquet``, of a frame that is done.
        choices: of ``choices.parquet``, all of the same frame.
    """
    height, width = int(record["height"]), int(record["width"])
    grids = record["rate_grid_bit"]
    if grids is None or not len(grids):  # of an earlier version
        found: Records = [{"part": "latents", "kind": "latents", "bit": record["rate_latent_bpp"] * height * width}]
    else:
        sizes = [(-(-height // 2**level), -(-width // 2**level)) for level in range(len(grids))]
        found = [
            {"part": f"latents {w}×{h}", "kind": "latents", "bit": float(bit)}
            for (h, w), bit in zip(sizes, grids, strict=True)
        ]
    for choice in choices:
        for kind in KINDS:
            network = network_name(choice["coolchic"], choice["module"])
            bit = float(choice[f"rate_{kind}_bit"])
            found.append({"part": f"{network} {PLURALS[kind]}", "kind": PLURALS[kind], "bit": bit})
    return with_shares(found, "bit")
