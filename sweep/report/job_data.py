"""What the figures of a whole job are drawn from: its tables, ready for JSON."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import repeat
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from sweep.config import DEFAULT_GRID, default_steps
from sweep.report.terms import PLURALS, Records, edge_of, exponent, network_name, stage_name, with_shares
from sweep.results import stages_of
from workers.candidates import KINDS, Kind, network_id

MAX_PICTURES = 8
"""Pictures that have a curve of their own; of more there is the mean, too."""

MAX_SPANS = 96
"""Spans of time that are shown: bars of a few pixels."""


Steps = Mapping[str, Mapping[str, Sequence[float]]]
"""Per module, or id of a network, and kind, its steps."""


def edges(choices: pd.DataFrame, families: Mapping[str, str | None], given: Steps) -> Records:
    """How many frames chose a step on the edge of their grid.

    Args:
        choices: as in ``choices.parquet``.
        families: names of the encoders' families, by frame; ``None`` in results of version 0.1.0.
        given: the grid of the configuration; networks that it does not name have the grid of their family.

    Returns:
        A record per network, kind, edge and step that any frame chose: ``parameters``, ``edge``, ``step`` and
        ``frames``, in the order of the networks.
    """
    found: Counter[tuple[str, Kind, str, float]] = Counter()
    of_family = cache(default_steps)
    for choice in choices.to_dict("records"):
        coolchic, module = choice["coolchic"], choice["module"]
        family = families.get(choice["frame"]) or DEFAULT_GRID
        grids = (given.get(network_id(coolchic, module)), given.get(module), of_family(family).get(module))
        grid = next(filter(None, grids), None)
        if grid is None:  # of a family that is not known here
            continue
        for kind in KINDS:
            steps, step = grid[kind], choice[f"q_step_{kind}"]
            if edge := edge_of(step, min(steps), max(steps)):
                found[network_name(coolchic, module), kind, edge, step] += 1
    networks = list(dict.fromkeys(map(network_name, choices.coolchic, choices.module)))

    def order(counted: tuple[tuple[str, Kind, str, float], int]) -> tuple[int, int, float]:
        (network, kind, _, step), _ = counted
        return networks.index(network), KINDS.index(kind), step

    return [
        {"parameters": f"{network} {PLURALS[kind]}", "edge": edge, "step": exponent(step), "frames": n_frames}
        for (network, kind, edge, step), n_frames in sorted(found.items(), key=order)
    ]


def chosen(choices: pd.DataFrame) -> Records:
    """How many frames chose each step and count.

    Args:
        choices: as in ``choices.parquet``.

    Returns:
        A record per network, kind, step and count; and some of no frames, so that no step or count is left out
        between those that there are.
    """
    found: Records = []
    networks = [network_name(*names) for names in zip(choices.coolchic, choices.module, strict=True)]
    for network in dict.fromkeys(networks):
        of_network = choices[[name == network for name in networks]]
        for kind in KINDS:
            columns = zip(of_network[f"q_step_{kind}"], of_network[f"expgol_cnt_{kind}"], strict=True)
            for (step, count), n_frames in sorted(Counter(columns).items()):
                found.append(_chosen(f"{network} {PLURALS[kind]}", exponent(step), int(count), n_frames))
    if found:
        exponents, counts = ([record[name] for record in found] for name in ("exponent", "count"))
        first = found[0]["parameters"]
        found += [_chosen(first, k, min(counts), 0) for k in range(min(exponents), max(exponents) + 1)]
        found += [_chosen(first, min(exponents), k, 0) for k in range(max(counts) + 1)]
    return found


def _chosen(parameters: str, exponent: int, count: int, n_frames: int) -> dict[str, Any]:
    return {"parameters": parameters, "exponent": exponent, "count": count, "frames": n_frames}


def points(frames: pd.DataFrame) -> Records:
    """Rate and distortion of pictures that were encoded with several weights of the rate.

    Args:
        frames: as in ``frames.parquet``.

    Returns:
        A record per frame that is done, of up to :data:`MAX_PICTURES` pictures; of more pictures, the mean over all
        that have every weight, too. Nothing if no picture has several.
    """
    done = frames[frames.status == "done"]
    done = done.assign(
        bpp=done.rate_latent_bpp + done.rate_nn_bpp,
        path=_pictures(done),
    ).drop_duplicates(["path", "lmbda"])
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


def picture_name(path: str, frame_index: float | None) -> str:
    """A picture by its file, and by its index there if it is one of several."""
    return path if pd.isna(frame_index) else f"{path} frame {frame_index:.0f}"


def _pictures(frames: pd.DataFrame) -> list[str]:
    """Pictures of frames; with the family of the encoder where a picture has encoders of several."""
    names = list(map(picture_name, frames.path, frames.get("frame_index", repeat(None))))
    families = frames.get("family", pd.Series(index=frames.index, dtype="str")).fillna(DEFAULT_GRID)
    several = families.groupby(names).transform("nunique").to_numpy() > 1
    return [f"{name} ({of})" if more else name for name, of, more in zip(names, families, several, strict=True)]


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
        A record per stage and span of time, from ``begin`` to ``end`` in milliseconds of running, the time between
        runs left out; ``replicas`` is the mean of those at work, or, without a ``stage``, of those that were there.
    """
    found: Records = []
    before = 0.0
    names = {"available_seconds": None} | {
        f"{stage}_seconds": stage_name(stage) for stage in stages_of(timeline.columns)
    }
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
                            "begin": round(1000 * (before + begin)),
                            "end": round(1000 * (before + end)),
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
    seconds = (
        (stage_name(stage), float(timeline[f"{stage}_seconds"].sum())) for stage in stages_of(timeline.columns)
    )
    return with_shares([{"stage": stage, "seconds": value} for stage, value in seconds if value > 0], "seconds")
