"""Figures as files, for articles and slides: the same that the report shows."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import pandas as pd
import vl_convert
from PIL import Image

from sweep.report import frame_data, job_data
from sweep.report.details import pixels_of
from sweep.report.figures import FIGURES, FORMATS, JOB_FIGURES, MODULE_FIGURES, figure_spec
from sweep.report.terms import Records
from sweep.report.vega import VEGA_LITE, Spec
from sweep.results import (
    CHOICES,
    CHOICES_FILE,
    Output,
    Storage,
    listed,
    read_as,
    read_frames,
    read_rd_table,
    read_timeline,
    result_files,
)
from workers.candidates import RESIDUE
from workers.codec.family import modules
from workers.errors import ConfigError, ResultsError
from workers.files import describe

_WIDTH = 420  # pixels, where a figure says none itself
_PNG_SCALE = 3.0
_SUBJECTS = {"frame": "ID", "module": "NAME"}

_LOOKS = {
    "background": "white",
    "config": {
        "view": {"stroke": None},
        "axis": {"titleFontWeight": "normal"},
        "legend": {"titleFontWeight": "normal"},
    },
}


def plot(out: str, figure: str, output: str, frame: str | None = None, module: str | None = None) -> str:
    """Draw a figure into a file.

    Args:
        out: folder or URI of a job's results.
        figure: one of :data:`FIGURES`.
        output: path or URI of the file, whose suffix is one of :data:`FORMATS`; pipes, devices and ``-`` are given
            SVG. See :class:`~sweep.results.Output`.
        frame: id of the frame, for figures of a frame.
        module: its module, for figures of a module: of the picture itself, or with its cool-chic (``motion.arm``).

    Returns:
        Where it is.

    Raises:
        ConfigError: there is no such figure, module or format; or what the figure is of is not said, or too much.
        ResultsError: there are no results, or nothing in them to be drawn; or the file cannot be written.
    """
    _check("figure", FIGURES, figure)
    with Output(output, result_files(out)) as target:
        suffix = PurePath(describe(output)).suffix.lower()
        if target.is_stream:
            suffix = suffix if suffix in FORMATS else ".svg"
        _check("suffix", FORMATS, suffix)
        target.write(render(figure_of(out, figure, frame, module), suffix))
    return target.name


def _check(name: str, accepted: Sequence[str], found: str) -> None:
    if found not in accepted:
        raise ConfigError(f"{name}: accepted: {', '.join(accepted)}; found {found!r}")


def render(spec: Spec, suffix: str) -> bytes:
    """A specification with its data as a file of some format."""
    text = json.dumps({"width": _WIDTH} | spec | _LOOKS if "spec" not in spec else spec | _LOOKS)
    if suffix == ".svg":
        return vl_convert.vegalite_to_svg(text, vl_version=VEGA_LITE).encode()
    if suffix == ".pdf":
        return bytes(vl_convert.vegalite_to_pdf(text, vl_version=VEGA_LITE))
    sink = io.BytesIO()
    drawn = vl_convert.vegalite_to_png(text, vl_version=VEGA_LITE, scale=_PNG_SCALE)
    Image.open(io.BytesIO(drawn)).convert("RGB").save(sink, "PNG", optimize=True)  # a tenth of the bytes
    return sink.getvalue()


def figure_of(out: str, figure: str, frame: str | None = None, module: str | None = None) -> Spec:
    """A figure's specification together with its data; see :func:`plot`."""
    _check_subject(figure, frame, module)
    network = None if module is None else _network(Storage(out), module)
    spec = figure_spec(figure)
    dataset, records = _data(out, figure, frame, network)
    if not records:
        why = ": no picture is done with several weights of the rate" if figure == "curves" else ""
        raise ResultsError(f"{describe(out)}: there is nothing to draw for the figure {figure}{why}")
    return spec | {"datasets": {dataset: records}}


def _check_subject(figure: str, frame: str | None, module: str | None) -> None:
    """Whether a figure is of the frame, or the module, that is named."""
    wanted = {"frame": figure not in JOB_FIGURES, "module": figure in MODULE_FIGURES}
    for name, value in (("frame", frame), ("module", module)):
        if wanted[name] and value is None:
            raise ConfigError(f"--figure {figure} needs --{name} {_SUBJECTS[name]}")
        if value is not None and not wanted[name]:
            of = "the whole job" if figure in JOB_FIGURES else "a whole frame"
            raise ConfigError(f"{name}: the figure {figure} is of {of}; found {value!r}")


def _network(storage: Storage, name: str) -> tuple[str, str]:
    """Cool-chic and module of a network: of families that are known here, or of the job, which may have plugins."""
    coolchic, _, module = name.rpartition(".")
    known = modules()
    if module not in known and storage.is_file(CHOICES_FILE):
        of_job = read_as(storage, CHOICES_FILE, CHOICES)["module"].to_pylist()
        known = list(dict.fromkeys([*known, *of_job]))
    _check("module", known, module)
    return coolchic or RESIDUE, module


def _data(out: str, figure: str, frame: str | None, network: tuple[str, str] | None) -> tuple[str, Records]:
    storage = Storage(out)
    if figure in ("stages", "utilisation"):
        timeline = read_timeline(storage)[0].to_pandas()
        return ("stages", job_data.stages(timeline)) if figure == "stages" else ("spans", job_data.spans(timeline))
    if figure == "curves":
        return "points", job_data.points(read_frames(out).reset_index())
    choices = read_as(storage, CHOICES_FILE, CHOICES).to_pandas()
    if figure in ("steps", "counts"):
        return "chosen", job_data.chosen(choices)
    assert frame is not None
    record = _record(out, frame)
    if figure == "bits":
        if record["status"] != "done":
            raise ResultsError(f"{storage.describe('')}: frame {frame} is not done: {record['error']}")
        return "parts", frame_data.parts(record, choices[choices.frame == frame].to_dict("records"))
    assert network is not None
    coolchic, module = network
    _check_network(frame, network, choices[choices.frame == frame])
    rows = read_rd_table(out, frames=[frame], modules=[module])
    found = frame_data.pairs(rows, {frame: pixels_of(record)}) if len(rows) else {}
    return "pairs", frame_data.records(found.get((frame, coolchic, module), {}))


def _check_network(frame: str, network: tuple[str, str], chosen: pd.DataFrame) -> None:
    """Whether a frame has a network, where that is known: by what was chosen for it."""
    names = list(zip(chosen.coolchic, chosen.module, strict=True))
    if names and network not in names:
        found = ", ".join(_name(*each) for each in names)
        raise ConfigError(f"{frame} has no network {_name(*network)}; it has {found}")


def _name(coolchic: str, module: str) -> str:
    return module if coolchic == RESIDUE else f"{coolchic}.{module}"


def _record(out: str, frame: str) -> Mapping[Any, Any]:
    frames = read_frames(out)
    if frame not in frames.index:
        found = listed(frames.index.to_list()) if len(frames) else "none"
        raise ResultsError(f"{describe(out)}: there is no frame {frame[:200]!r} that has ended; found {found}")
    record: Mapping[Any, Any] = frames.loc[frame].to_dict()
    return record
