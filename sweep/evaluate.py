"""How good the files of a job are: rate and distortion of each, beside other codecs."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch

from sweep.report.figure_file import render
from sweep.report.job_data import compared, picture_name
from sweep.report.job_figures import comparison
from sweep.results import FRAMES, FRAMES_FILE, Storage, bitstream_format, bitstream_path, read_as, write_table
from workers.bitstream.formats import DEFAULT_FORMAT
from workers.codec import Frame, read_frame
from workers.errors import InputError, QsweepError, ResultsError
from workers.evaluation import (
    ANCHORS,
    QUALITIES,
    Point,
    anchor_point,
    bd_rate,
    bitstream_point,
    check_bd_rate,
    writable_anchors,
)
from workers.reasons import reason_of

_log = logging.getLogger(__name__)

POINTS_FILE, BD_RATES_FILE, CURVES_FILE = "eval_points.parquet", "eval_bd_rates.parquet", "eval_curves.png"

POINTS = pa.schema(
    [
        ("picture", pa.string()),
        ("frame", pa.string()),
        ("codec", pa.string()),
        ("parameter", pa.float64()),
        ("bytes", pa.int64()),
        ("bpp", pa.float64()),
        ("psnr_db", pa.float64()),
    ]
)
"""One row per file: of this codec, with ``frame`` and lmbda as ``parameter``; of others, with the quality."""

BD_RATES = pa.schema([("picture", pa.string()), ("anchor", pa.string()), ("bd_rate", pa.float64())])
"""Bits that the job's files need more than an anchor's for the same PSNR, as a fraction; null if not defined."""


class Evaluation(NamedTuple):
    """What was found.

    Attributes:
        points: see :data:`POINTS`.
        bd_rates: see :data:`BD_RATES`.
        failures: why some files are not among the points.
        files: what was written.
    """

    points: pd.DataFrame
    bd_rates: pd.DataFrame
    failures: list[str]
    files: list[str]


def evaluate(out: str) -> Evaluation:
    """Decode every bitstream of a job, compare it with its picture, and other codecs with both.

    Pictures are read from where the job read them, options of URIs aside. Tables and a plot are written to the
    job's results.

    Args:
        out: folder or URI of the results of a job that wrote bitstreams.

    Raises:
        InputError: the package that computes BD-rates is missing.
        ResultsError: there are no results, or none with bitstreams; or nothing can be written there.
    """
    check_bd_rate()
    storage = Storage(out)
    table = read_as(storage, FRAMES_FILE, FRAMES)
    done = table.filter((pc.field("status") == "done") & pc.field("file_bytes").is_valid()).to_pylist()
    if not done:
        raise ResultsError(f"{storage.describe('')}: there are no bitstreams; run the job with bitstream: true")
    bitstream = bitstream_format(storage) or DEFAULT_FORMAT
    storage.probe()
    anchors = writable_anchors()
    if left_out := sorted({*ANCHORS}.difference(anchors)):
        _log.warning("left out of the comparison, this Pillow cannot write it: %s", ", ".join(left_out))
    pictures: dict[tuple[str, int | None], list[Mapping[str, Any]]] = {}
    for record in done:
        pictures.setdefault((record["path"], record["frame_index"]), []).append(record)
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    for number, (picture, records) in enumerate(pictures.items(), start=1):
        rows += _of_picture(storage, *picture, records, failures, anchors, bitstream)
        _log.info("%d/%d pictures", number, len(pictures))
    points = pd.DataFrame(rows, columns=POINTS.names)
    bd_rates = _bd_rates(points)
    storage.be_patient()
    for name, frame, schema in ((POINTS_FILE, points, POINTS), (BD_RATES_FILE, bd_rates, BD_RATES)):
        write_table(storage, name, pa.Table.from_pandas(frame, schema, preserve_index=False))
    storage.write(CURVES_FILE, render(comparison() | {"datasets": {"points": compared(points)}}, ".png"))
    files = [storage.describe(name) for name in (POINTS_FILE, BD_RATES_FILE, CURVES_FILE)]
    return Evaluation(points, bd_rates, failures, files)


def _of_picture(
    storage: Storage,
    path: str,
    frame_index: int | None,
    records: Sequence[Mapping[str, Any]],
    failures: list[str],
    anchors: Sequence[str],
    bitstream: str,
) -> Iterator[dict[str, Any]]:
    try:
        frame = read_frame(path, frame_index)
    except InputError as error:
        failures.append(reason_of(error))
        return
    picture = picture_name(path, frame_index)
    for record in records:
        file = bitstream_path(record["frame"], bitstream)
        try:
            point = bitstream_point(storage.read(file), frame, record["lmbda"], bitstream)
        except QsweepError as error:
            failures.append(f"{storage.describe(file)}, of {picture}: {reason_of(error)}")
        else:
            yield {"picture": picture, "frame": record["frame"]} | point._asdict()
    if frame.frame_data_type == "rgb" and frame.bitdepth == 8:
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            found = list(threads.map(partial(_anchor, frame=frame), product(anchors, QUALITIES)))
        yield from (
            {"picture": picture, "frame": None} | point._asdict() for point in found if isinstance(point, Point)
        )
        reasons = (reason_of(error) for error in found if isinstance(error, InputError))
        failures += [f"{picture}: {reason}" for reason in dict.fromkeys(reasons)]


def _anchor(codec_and_quality: tuple[str, int], frame: Frame) -> Point | InputError:
    """A point, or why there is none: WebP, for example, holds no side above 16383."""
    try:
        return anchor_point(*codec_and_quality, frame)
    except InputError as error:
        return error


def _bd_rates(points: pd.DataFrame) -> pd.DataFrame:
    """Of every picture against every anchor that it was written with."""
    rows = []
    for picture, of_picture in points.groupby("picture", sort=False):
        curves = {
            str(codec): [Point(*row) for row in of_codec[list(Point._fields)].itertuples(index=False)]
            for codec, of_codec in of_picture.groupby("codec")
        }
        for anchor in ANCHORS:
            if anchor in curves:
                rows.append((picture, anchor, bd_rate(curves[anchor], curves.get("qsweep", []))))
    return pd.DataFrame(rows, columns=BD_RATES.names).astype({"bd_rate": "float64"})
