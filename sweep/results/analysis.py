"""Questions to the rate–distortion tables of jobs, one line each in pandas."""

import os
from collections.abc import Iterable, Sequence

import pandas as pd
import pyarrow as pa

from sweep.results.arguments import names_of
from sweep.results.layout import CHOICES_FILE, FRAMES_FILE, REFINED_FILE, TRIALS_FOLDER, trials_path
from sweep.results.parquet import read_as
from sweep.results.refined import REFINED, TRIALS
from sweep.results.storage import Storage
from sweep.results.swept import open_job
from sweep.results.table import CHOICES, FRAMES

_NUMBERS = [field.name for field in FRAMES if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)]


def read_frames(out: str | os.PathLike[str]) -> pd.DataFrame:
    """The frames of a job that have ended, as in ``frames.parquet``.

    Args:
        out: folder or URI of the job's results.

    Returns:
        One row per frame, indexed by its id.

    Raises:
        ResultsError: there are no results, or they are damaged.
    """
    frames: pd.DataFrame = read_as(Storage(os.fspath(out)), FRAMES_FILE, FRAMES).to_pandas()
    return frames.set_index("frame")


def read_choices(out: str | os.PathLike[str]) -> pd.DataFrame:
    """The pairs that the sweep chose, before any refinement, as in ``choices.parquet``.

    Args:
        out: folder or URI of the job's results.

    Returns:
        One row per (frame, coolchic, module) of the frames that are done.

    Raises:
        ResultsError: there are no results, or they are damaged.
    """
    choices: pd.DataFrame = read_as(Storage(os.fspath(out)), CHOICES_FILE, CHOICES).to_pandas()
    return choices


def read_refined(out: str | os.PathLike[str]) -> pd.DataFrame:
    """What refinement made of the choices of a job, as in ``refined.parquet``.

    Args:
        out: folder or URI of the job's results.

    Returns:
        One row per (frame, coolchic, module) of the frames that are done and were refined: the steps, counts and
        bits that are in the frame's checkpoint, and what was gained; none where nothing was refined.

    Raises:
        ResultsError: there are no results, or they are damaged.
    """
    storage = open_job(os.fspath(out))
    table = read_as(storage, REFINED_FILE, REFINED) if storage.is_file(REFINED_FILE) else REFINED.empty_table()
    refined: pd.DataFrame = table.to_pandas()
    return refined


def read_trials(out: str | os.PathLike[str], *, frames: Iterable[str] | None = None) -> pd.DataFrame:
    """Every trial of the refinements of a job.

    Args:
        out: folder or URI of the job's results.
        frames: ids of the frames wanted; ``None`` for all. See :func:`~sweep.read_rd_table` for what may give them.

    Returns:
        One row per (frame, pass, coolchic, module, pair of steps), in the order of the search within a frame.

    Raises:
        ResultsError: there are no results, they are damaged, or one of the frames has no trials.
    """
    storage = open_job(os.fspath(out))
    ids = names_of("frames", frames)
    paths = [file.path for file in storage.files(TRIALS_FOLDER)] if ids is None else map(trials_path, ids)
    tables = [read_as(storage, path, TRIALS) for path in paths]
    trials: pd.DataFrame = pa.concat_tables([TRIALS.empty_table(), *tables]).to_pandas()
    return trials


def _group(table: pd.DataFrame) -> list[str]:
    """What rows of one sweep have in common: frame, cool-chic, if the table tells it, and module."""
    return [name for name in ("frame", "coolchic", "module") if name in table.columns]


def _distortion(table: pd.DataFrame) -> "pd.Series[float]":
    """What the loss is made of beside the rate: ``mse`` in tables without a column for it, or from before it."""
    mse = table.mse.astype("float64")
    return table.distortion.fillna(mse) if "distortion" in table.columns else mse


def pareto_front(table: pd.DataFrame) -> pd.DataFrame:
    """Pairs of every (frame, coolchic, module) that no other beats, in rate or distortion; of equal ones the first.

    Args:
        table: see :func:`~sweep.read_rd_table`.

    Returns:
        Its rows that are on a front, by rate within each, with ``rate_bit``, the bits of latents and
        networks together.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"frame": "a", "module": "arm", "status": "ok", "mse": [3.0, 2.0, 2.5],
        ...                       "rate_latent_bit": [10.0, 20.0, 30.0], "rate_nn_bit": [5, 5, 5]})
        >>> pareto_front(table)[["rate_bit", "mse"]]
           rate_bit  mse
        0      15.0  3.0
        1      25.0  2.0
    """
    ok = table[table.status == "ok"]
    group = _group(ok)
    rate_bit = ok.rate_latent_bit + ok.rate_nn_bit.astype("float64")
    ok = ok.assign(rate_bit=rate_bit, compared=_distortion(ok))
    ok = ok.sort_values([*group, "rate_bit", "compared"], kind="stable")
    so_far = ok.assign(compared=ok.groupby(group, observed=True).compared.cummin())
    best_before = so_far.groupby(group, observed=True).compared.shift()
    # There is nothing before the first one.
    return ok[~(ok.compared >= best_before)].drop(columns="compared")


def choose_at(table: pd.DataFrame, frames: pd.DataFrame, lmbda: float) -> pd.DataFrame:
    """The pairs that would win with another weight of the rate, from the same measurements.

    Exact for arm and synthesis: what was settled before them adds the same to the loss of all their pairs. For the
    upsampling it is an approximation where the synthesis' choice is another one, since its pairs were measured
    with the old one in force; and for the ifce of Cool-Chic 5 where the arm's is. In either case the frame encoder
    remains the one that was fitted for the old weight, pairs so close to the best that a sweep would measure them
    again may change places (near-ties of the new weight), and pruned pairs (mode ``winner``) are not looked at. Of
    frames that were refined, too, it compares the pairs as the sweep measured them, with rounded integers.

    Args:
        table: see :func:`~sweep.read_rd_table`.
        frames: see :func:`read_frames`.
        lmbda: the other weight.

    Returns:
        The winning row of every (frame, coolchic, module), with its ``loss`` for that weight, of the pair as
        measured. Of a frame whose size ``frames`` does not know, such as one of a running job that has just ended,
        there is none.

    Example:
        >>> import pandas as pd
        >>> frames = pd.DataFrame({"width": 5, "height": 2}, index=pd.Index(["a"], name="frame"))
        >>> table = pd.DataFrame({"frame": "a", "module": "arm", "status": "ok", "q_step_weight": [0.5, 1.0],
        ...                       "mse": 0.5, "rate_latent_bit": [10.0, 30.0], "rate_nn_bit": [40, 10]})
        >>> choose_at(table, frames, 0.1)[["frame", "module", "q_step_weight", "loss"]]
          frame module  q_step_weight  loss
        1     a    arm            1.0   0.9
    """
    ok = table[table.status == "ok"]
    ok = ok[ok.frame.isin(frames.index[frames.width.notna()])]
    sides = frames[["height", "width"]].reindex(ok.frame.astype(str)).to_numpy(dtype="float64")
    rate_bit = ok.rate_latent_bit + ok.rate_nn_bit.astype("float64")
    ok = ok.assign(loss=_distortion(ok) + lmbda * rate_bit / sides.prod(axis=1))
    return ok.loc[ok.groupby(_group(ok), observed=True).loss.idxmin()]


def cost_of_steps(table: pd.DataFrame, kind: str = "weight") -> pd.DataFrame:
    """How much worse the loss gets with any other step, its partner chosen anew.

    Args:
        table: see :func:`~sweep.read_rd_table`.
        kind: ``weight`` or ``bias``.

    Returns:
        A row per (frame, coolchic, module, step): the best ``loss`` that a pair with this step has, ``excess`` over
        the best of all as a fraction, and ``saved_bit``, what the module costs less than with the best.

    Raises:
        ValueError: there is no such kind.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"frame": "a", "module": "arm", "status": "ok", "q_step_weight": [0.5, 0.5, 1.0],
        ...                       "q_step_bias": [0.5, 1.0, 1.0], "loss": [2.2, 2.0, 3.0],
        ...                       "rate_weight_bit": [40, 40, 30], "rate_bias_bit": [9, 5, 5]})
        >>> cost_of_steps(table)
          frame module  q_step_weight  loss  excess  saved_bit
        0     a    arm            0.5   2.0     0.0          0
        1     a    arm            1.0   3.0     0.5         10
    """
    if kind not in ("weight", "bias"):
        raise ValueError(f"kind: accepted: weight, bias; found {kind!r}")
    step = f"q_step_{kind}"
    ok = table[table.status == "ok"]
    group = _group(ok)
    ok = ok.assign(bit=ok.rate_weight_bit + ok.rate_bias_bit)
    best = ok.loc[ok.groupby([*group, step], observed=True).loss.idxmin()].reset_index(drop=True)
    winners = best.loc[best.groupby(group, observed=True).loss.transform("idxmin")].reset_index(drop=True)
    columns: Sequence[str] = [*group, step, "loss", "excess", "saved_bit"]
    return best.assign(excess=best.loss / winners.loss - 1, saved_bit=winners.bit - best.bit)[columns]


def compare_jobs(
    out: str | os.PathLike[str],
    other: str | os.PathLike[str],
    columns: Iterable[str] = ("loss", "psnr_db", "rate_latent_bpp", "rate_nn_bpp"),
) -> pd.DataFrame:
    """Two jobs, frame by frame: those that are done in both.

    Args:
        out: folder or URI of a job's results.
        other: of another one.
        columns: of ``frames.parquet`` to compare, numbers; see :func:`~sweep.read_rd_table` for what may give them.

    Returns:
        A row per frame, indexed by its id: each column of both, ``_1`` and ``_2``, and the difference, ``_diff``.

    Raises:
        ResultsError: one of them has no results, or they are damaged.
        ValueError: there is no such column, or it does not hold numbers.
    """
    names = names_of("columns", columns, _NUMBERS) or []
    first, second = (frames[frames.status == "done"][names] for frames in map(read_frames, (out, other)))
    both = first.add_suffix("_1").join(second.add_suffix("_2"), how="inner")
    for column in names:
        both[f"{column}_diff"] = both[f"{column}_2"] - both[f"{column}_1"]
    return both[[f"{column}_{suffix}" for column in names for suffix in ("1", "2", "diff")]]
