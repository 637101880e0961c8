"""What the figures show: from a job's tables to records of names and plain numbers, ready for JSON."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from sweep.analysis import pareto_front
from sweep.report.figures import (
    CHOSEN,
    NEAR_TIE,
    NON_FINITE,
    OVERFLOW,
    PARAMETERS,
    PRUNED,
    stage_name,
)
from sweep.timeline import STAGES
from workers.codec import KINDS, MODULES

Records = list[dict[str, Any]]
Columns = dict[str, list[Any]]

MAX_PICTURES = 8
"""Pictures that have a curve of their own; of more there is the mean, too."""

MAX_SPANS = 96
"""Spans of time that are shown: bars of a few pixels."""

_MARKS = {"overflow": OVERFLOW, "non_finite": NON_FINITE, "pruned": PRUNED}
_PLURALS = {"weight": "weights", "bias": "biases"}


def pairs(rows: pd.DataFrame, pixels: Mapping[str, int]) -> dict[tuple[str, str], Columns]:
    """Pairs of some frames, in grid order.

    Args:
        rows: of :func:`~sweep.read_rd_table`, of each (frame, module) all or none.
        pixels: luma samples of each frame.

    Returns:
        By frame and module, a list per column: ``weight`` and ``bias`` are exponents of two; ``mark`` is what the
        cell is marked with; ``front`` tells whether no pair has both less rate and less distortion; ``excess`` is
        the loss above the best one, as a fraction; ``bound`` the least loss that a pruned pair can have. What was
        not measured is ``None``.
    """
    rows = rows.reset_index(drop=True)
    floats = {
        name: rows[name].to_numpy(dtype="float64", na_value=np.nan)
        for name in ("loss", "psnr_db", "rate_latent_bit", "rate_nn_bit", "loss_lower_bound")
    }
    weight_bit, bias_bit = (rows[f"rate_{kind}_bit"].to_numpy(dtype="float64", na_value=np.nan) for kind in KINDS)
    groups = rows.groupby(["frame", "module"], observed=True)
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


def exponent(step: float) -> int:
    """Of a step, which is a power of two."""
    return math.frexp(step)[1] - 1


def winners(rows: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """The pairs that were chosen.

    Args:
        rows: of :func:`~sweep.read_rd_table`, of each (frame, module) all or none.

    Returns:
        By frame and module: ``weight`` and ``bias``, exponents of two; their counts and bits, and the ``loss``; and
        ``warnings``, what a reader of the heat map should know. Only those are there where nothing was chosen.
    """
    steps = [f"q_step_{kind}" for kind in KINDS]
    groups = rows.groupby(["frame", "module"], observed=True)[steps]
    finest, coarsest = groups.min().to_dict("index"), groups.max().to_dict("index")
    found: dict[Any, dict[str, Any]] = {
        key: {"warnings": ["No pair of this module could be chosen: the marks of its cells tell why."]}
        for key in finest
    }
    for row in rows[rows.chosen].to_dict("records"):
        key = (row["frame"], row["module"])
        warnings = []
        for kind, step in zip(KINDS, steps, strict=True):
            edge = _edge(row[step], finest[key][step], coarsest[key][step])
            if edge:
                text = f"The {kind} step that won is the {edge} of the grid: one beyond it may be better still."
                warnings.append(text)
        names = ("expgol_cnt_weight", "rate_weight_bit", "expgol_cnt_bias", "rate_bias_bit", "loss")
        exponents = {kind: exponent(row[step]) for kind, step in zip(KINDS, steps, strict=True)}
        found[key] = {name: row[name] for name in names} | exponents | {"warnings": warnings}
    return found


def _edge(step: float, finest: float, coarsest: float) -> str | None:
    if finest == coarsest:
        return None
    return "finest" if step == finest else "coarsest" if step == coarsest else None


def edges(choices: pd.DataFrame, grid: Mapping[str, Mapping[str, Sequence[float]]]) -> Records:
    """How many frames chose a step on the edge of the grid.

    Args:
        choices: as in ``choices.parquet``.
        grid: per module and kind, its steps.

    Returns:
        A record per module, kind and edge that any frame chose: ``parameters``, ``edge``, ``step`` and ``frames``.
    """
    found: Records = []
    for module, kinds in grid.items():
        of_module = choices[choices.module == module]
        for kind, steps in kinds.items():
            for step in sorted({min(steps), max(steps)}):
                n_frames = int((of_module[f"q_step_{kind}"] == step).sum())
                if n_frames and (edge := _edge(step, min(steps), max(steps))):
                    parameters = f"{module} {_PLURALS[kind]}"
                    found.append(
                        {"parameters": parameters, "edge": edge, "step": exponent(step), "frames": n_frames}
                    )
    return found


def chosen(choices: pd.DataFrame) -> Records:
    """How many frames chose each step and count.

    Args:
        choices: as in ``choices.parquet``.

    Returns:
        A record per module, kind, step and count; and some of no frames, so that no step or count is left out
        between those that there are.
    """
    found: Records = []
    for module in MODULES:
        of_module = choices[choices.module == module]
        for kind in KINDS:
            columns = zip(of_module[f"q_step_{kind}"], of_module[f"expgol_cnt_{kind}"], strict=True)
            for (step, count), n_frames in sorted(Counter(columns).items()):
                found.append(_chosen(f"{module} {_PLURALS[kind]}", exponent(step), int(count), n_frames))
    if found:
        exponents, counts = ([record[name] for record in found] for name in ("exponent", "count"))
        found += [_chosen(PARAMETERS[0], k, min(counts), 0) for k in range(min(exponents), max(exponents) + 1)]
        found += [_chosen(PARAMETERS[0], min(exponents), k, 0) for k in range(max(counts) + 1)]
    return found


def _chosen(parameters: str, exponent: int, count: int, n_frames: int) -> dict[str, Any]:
    return {"parameters": parameters, "exponent": exponent, "count": count, "frames": n_frames}


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
            part, bit = f"{choice['module']} {_PLURALS[kind]}", float(choice[f"rate_{kind}_bit"])
            found.append({"part": part, "kind": _PLURALS[kind], "bit": bit})
    return _with_shares(found, "bit")


def _with_shares(rows: Records, of: str) -> Records:
    total = sum(record[of] for record in rows)
    return [record | {"share": record[of] / total if total else 0.0} for record in rows]


def points(frames: pd.DataFrame) -> Records:
    """Rate and distortion of pictures that were encoded with several weights of the rate.

    Args:
        frames: as in ``frames.parquet``.

    Returns:
        A record per frame that is done, of up to :data:`MAX_PICTURES` pictures; of more pictures, the mean over all
        that have every weight, too. Nothing if no picture has several.
    """
    done = frames[frames.status == "done"]
    done = done.assign(bpp=done.rate_latent_bpp + done.rate_nn_bpp).drop_duplicates(["path", "lmbda"])
    done = done[done.groupby("path").lmbda.transform("nunique") > 1].sort_values(["path", "lmbda"])
    paths = list(dict.fromkeys(done.path))
    names = _short_names(paths)
    shown = [("mean of the pictures", _mean_curve(done))] if len(paths) > MAX_PICTURES else []
    shown += [(names[path], done[done.path == path]) for path in paths[:MAX_PICTURES]]
    return [
        {"picture": picture, "parameter": f"{lmbda:g}", "bpp": bpp, "psnr_db": psnr_db}
        for picture, rows in shown
        for lmbda, bpp, psnr_db in zip(rows.lmbda, rows.bpp, rows.psnr_db, strict=True)
        if math.isfinite(psnr_db)
    ]


def _mean_curve(done: pd.DataFrame) -> pd.DataFrame:
    """Means over the pictures that have every weight, as articles show them."""
    of_pictures = done.groupby("path").lmbda.nunique()
    complete = done[done.path.isin(of_pictures[of_pictures == done.lmbda.nunique()].index)]
    return complete.groupby("lmbda")[["bpp", "psnr_db"]].mean().reset_index()


def compared(files: pd.DataFrame) -> Records:
    """Rate and distortion of the files of several codecs.

    Args:
        files: see :data:`sweep.evaluate.POINTS`.

    Returns:
        A record per file of the first :data:`MAX_PICTURES` pictures; of other codecs, those at rates within three
        times the ones that this codec's files of the picture have.
    """
    names = _short_names(list(dict.fromkeys(files.picture))[:MAX_PICTURES])
    found: Records = []
    for path, name in names.items():
        of_picture = files[(files.picture == path) & np.isfinite(files.psnr_db)]
        own = of_picture[of_picture.codec == "qsweep"].bpp
        if len(own):
            of_picture = of_picture[of_picture.bpp.between(own.min() / 3, own.max() * 3)]
        columns = of_picture[["codec", "parameter", "bpp", "psnr_db"]].to_dict("records")
        found += [{"picture": name} | {str(key): value for key, value in row.items()} for row in columns]
    return found


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """File names, or whole paths where those are the same."""
    names = {path: PurePath(path).name for path in paths}
    return names if len(set(names.values())) == len(names) else {path: path for path in paths}


def spans(timeline: pd.DataFrame) -> Records:
    """Replicas at work over time.

    Args:
        timeline: as in ``timeline.parquet``.

    Returns:
        A record per stage and span of time, from ``begin`` to ``end`` in minutes of running, the time between runs
        left out; ``replicas`` is the mean of those at work, or, without a ``stage``, of those that were there.
    """
    found: Records = []
    before = 0.0
    names = {"available_seconds": None} | {f"{stage}_seconds": stage_name(stage) for stage in STAGES}
    for _, run in timeline.groupby("run", sort=True):
        length = run.seconds.max()
        begins = (run.time - run.time.iloc[0]).dt.total_seconds()
        index = (begins / length).round().astype(int)
        at_once = -(-(int(index.max()) + 1) // MAX_SPANS)
        for _, rows in run.groupby(index // at_once):
            begin, end = begins[rows.index[0]], begins[rows.index[-1]] + rows.seconds.iloc[-1]
            for order, (column, stage) in enumerate(names.items()):
                replicas = rows[column].sum() / (end - begin)
                if replicas > 0 or stage is None:
                    found.append(
                        {
                            "begin": (before + begin) / 60,
                            "end": (before + end) / 60,
                            "time": f"{rows.time.iloc[0]:%Y-%m-%d %H:%M:%S} UTC",
                            "stage": stage,
                            "order": order,
                            "replicas": replicas,
                        }
                    )
        before += begins.max() + run.seconds.iloc[-1]
    return found


def stages(timeline: pd.DataFrame) -> Records:
    """Seconds that replicas spent at each stage, over all runs.

    Args:
        timeline: as in ``timeline.parquet``.
    """
    seconds = ((stage_name(stage), float(timeline[f"{stage}_seconds"].sum())) for stage in STAGES)
    return _with_shares([{"stage": stage, "seconds": value} for stage, value in seconds if value > 0], "seconds")
