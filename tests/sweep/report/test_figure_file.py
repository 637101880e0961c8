"""Figures as files: the report's, with the numbers of the tables."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from sweep import read_frames, read_rd_table
from sweep.cli import app
from sweep.report import FIGURES, FORMATS, plot
from sweep.report.figure_file import figure_of, render
from sweep.report.figures import FRAME_FIGURES, JOB_FIGURES, MODULE_FIGURES
from sweep.report.job_figures import utilisation
from sweep.results import Results, Storage
from tests.cases import ARM
from tests.object_store import ObjectStore
from tests.sweep.ended import done, make_job
from tests.sweep.report.jobs import real_job, small_job
from workers.candidates import Candidate
from workers.errors import ConfigError, ResultsError

MAGIC = {".svg": b"<svg", ".pdf": b"%PDF", ".png": b"\x89PNG"}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    return real_job(tmp_path_factory.mktemp("real")).config.out


def labels_of(file: Path) -> list[str]:
    return re.findall(r'aria-label="([^"]*)"', file.read_text("utf-8"))


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_figure_is_written_in_every_format(out: str, tmp_path: Path, suffix: str) -> None:
    for figure in FIGURES:
        if figure == "curves":  # see below: these frames have one weight of the rate each
            continue
        frame = None if figure in JOB_FIGURES else "frame-1"
        module = "arm" if figure in MODULE_FIGURES else None
        file = tmp_path / f"{figure}{suffix}"
        assert plot(out, figure, str(file), frame, module) == str(file)
        assert file.read_bytes().startswith(MAGIC[suffix])
        if suffix == ".png":
            with Image.open(file) as picture:
                assert min(picture.size) > 150
                assert len(picture.convert("RGB").resize((64, 64)).getcolors(4096)) > 3, "something is drawn"


def test_no_figure_is_written_over_a_result_and_devices_need_no_suffix(tmp_path: Path) -> None:
    results = Results(make_job(tmp_path, ["a"]))
    results.write_frame(done("a"))
    results.write_summary()
    folder = tmp_path / "out"
    for result in ("choices.parquet", "rd_table/frame=a/part-0.parquet", "quantized/a.safetensors", "job.yaml"):
        link, before = tmp_path / f"{Path(result).name}.svg", (folder / result).read_bytes()
        link.symlink_to(folder / result)
        with pytest.raises(ResultsError, match="is an input too"):
            plot(str(folder), "steps", str(link))
        assert (folder / result).read_bytes() == before
    for _ in range(2):
        plot(str(folder), "steps", str(folder / "steps.svg"))  # beside the results, and again
    plot(str(folder), "steps", "/dev/null")


def test_a_heat_map_holds_the_losses_of_the_table(out: str, tmp_path: Path) -> None:
    file = tmp_path / "x.svg"
    plot(out, "loss", str(file), "frame-2", "synthesis")
    found = sorted(float(loss) for label in labels_of(file) for loss in re.findall(r"; loss: ([\d.e-]+);", label))
    rows = read_rd_table(out, frames=["frame-2"], modules=["synthesis"])
    expected = sorted([*rows.loss.dropna(), *rows.loss[rows.chosen]])
    assert found == pytest.approx(expected, rel=1e-7), "each cell, and what was chosen once more as a mark"


def test_a_bar_of_the_timeline_is_as_wide_as_its_span_is_long() -> None:
    times = [(0, 1000), (1000, 4000)]
    spans = [
        {"begin": begin, "end": end, "time": str(begin), "stage": "arm", "order": 1, "replicas": 1.0}
        for begin, end in times
    ]
    drawn = render(utilisation() | {"datasets": {"spans": spans}}, ".svg").decode()
    bars = re.findall(r'<path aria-label="arm [^>]* d="M[\d.]+,[\d.]+h([\d.]+)v', drawn)
    first, second = map(float, bars)
    assert second == pytest.approx(3 * first, rel=0.01)


def test_the_bits_of_a_frame_add_up_to_its_record(out: str) -> None:
    record = read_frames(out).loc["frame-1"]
    parts = figure_of(out, "bits", "frame-1")["datasets"]["parts"]
    pixels = record.width * record.height
    assert sum(part["bit"] for part in parts) == pytest.approx(
        (record.rate_latent_bpp + record.rate_nn_bpp) * pixels, rel=1e-6
    )
    assert sum(part["share"] for part in parts) == pytest.approx(1)


def test_curves_are_drawn_where_pictures_have_several_weights(tmp_path: Path) -> None:
    job = make_job(tmp_path, [], frames=[{"frame": "a.png", "lmbda": [0.01, 0.02]}, {"frame": "b.png"}])
    results = Results(job)
    for item in job.frames:
        ended = done(item.id)
        assert ended.info is not None
        results.write_frame(ended._replace(info=ended.info._replace(lmbda=item.lmbda or 1.0)))
    results.write_summary()
    points = figure_of(job.config.out, "curves")["datasets"]["points"]
    assert [(point["picture"], point["parameter"]) for point in points] == [("a.png", "0.01"), ("a.png", "0.02")]
    plot(job.config.out, "curves", str(tmp_path / "x.svg"))


def test_what_cannot_be_drawn_is_told(out: str, tmp_path: Path) -> None:
    file = str(tmp_path / "x.svg")

    def error_of(figure: str, frame: str | None = None, module: str | None = None, output: str = file) -> str:
        with pytest.raises((ConfigError, ResultsError)) as raised:
            plot(out, figure, output, frame, module)
        return str(raised.value)

    assert error_of("loss", output="x.gif") == "suffix: accepted: .svg, .pdf, .png; found '.gif'"
    assert error_of("los").startswith("figure: accepted: loss, rate-distortion, bits, steps,")
    assert error_of("loss", "frame-1") == "--figure loss needs --module NAME"
    assert error_of("steps", "frame-1") == "frame: the figure steps is of the whole job; found 'frame-1'"
    assert error_of("loss", "frame-1", "ram") == "module: accepted: arm, synthesis, upsampling, ifce; found 'ram'"
    assert error_of("loss") == "--figure loss needs --frame ID"
    assert error_of("loss", "frame-1", "ifce") == "frame-1 has no network ifce; it has arm, synthesis, upsampling"
    assert "there is no frame 'frame-9' that has ended; found 'frame-" in error_of("bits", "frame-9")
    assert "the figure curves: no picture is done with several weights of the rate" in error_of("curves")
    (bad,) = read_frames(out).query("status == 'failed'").index
    assert "is not done" in error_of("bits", bad)
    assert "there is nothing to draw for the figure loss" in error_of("loss", bad, "arm")
    assert "cannot be written" in error_of("steps", output=f"{out}/job.yaml/x.svg")


def test_a_figure_of_pairs_none_of_which_was_measured_is_drawn_or_refused(tmp_path: Path) -> None:
    job = small_job(tmp_path, ["a"])
    plot(job.config.out, "loss", str(tmp_path / "x.svg"), "a", "arm")
    marks = " ".join(labels_of(tmp_path / "x.svg"))
    assert "status: overflow" in marks
    assert "status: loss not finite" in marks


def test_a_network_of_a_plugin_is_drawn_where_the_plugin_is_not_known(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    whole = done("a")
    rows = []
    for row in whole.rows:
        network, pair = row.measurement.candidate
        tint = Candidate("residue.tint" if network == ARM else network, pair)
        rows.append(row._replace(measurement=row.measurement._replace(candidate=tint)))
    choices = {"residue.tint": replace(whole.choices[ARM], network="residue.tint")} | {
        network: choice for network, choice in whole.choices.items() if network != ARM
    }
    results = Results(job)
    results.write_frame(whole._replace(rows=tuple(rows), choices=choices))
    results.write_summary()
    plot(job.config.out, "loss", str(tmp_path / "x.svg"), "a", "tint")
    plot(job.config.out, "loss", str(tmp_path / "y.svg"), "a", "residue.tint")
    assert labels_of(tmp_path / "x.svg") == labels_of(tmp_path / "y.svg")
    with pytest.raises(ConfigError, match=r"module: accepted: .*, tint; found 'tinted'"):
        plot(job.config.out, "loss", str(tmp_path / "x.svg"), "a", "tinted")
    with pytest.raises(ConfigError, match=r"^a has no network motion\.tint; it has tint, synthesis, upsampling"):
        plot(job.config.out, "loss", str(tmp_path / "x.svg"), "a", "motion.tint")


def test_the_command_chooses_the_figure_by_what_is_named(out: str, tmp_path: Path) -> None:
    for options, description in (
        ([], "chosen step"),
        (["--frame", "frame-1"], "synthesis weights"),
        (["--frame", "frame-1", "--module", "arm"], "loss above the best"),
        (["--frame", "frame-1", "--module", "arm", "--figure", "rate-distortion"], "PSNR [dB]"),
    ):
        file = tmp_path / "x.svg"
        result = CliRunner().invoke(app, ["plot", out, "-o", str(file), *options])
        assert (result.exit_code, result.stdout) == (0, f"{file}\n")
        assert description in file.read_text("utf-8")
    assert CliRunner().invoke(app, ["plot", str(tmp_path), "-o", str(file)]).exit_code == 2
    assert CliRunner().invoke(app, ["plot", out]).exit_code == 2


def test_a_figure_is_written_behind_a_uri(out: str, object_store: ObjectStore) -> None:
    plot(out, "bits", object_store.uri("figures/bits.png"), "frame-1")
    content = Storage(object_store.uri("figures")).read("bits.png")
    assert Image.open(io.BytesIO(content)).size[0] > 200


def test_every_figure_has_a_name_of_its_own() -> None:
    assert len(FIGURES) == len({*MODULE_FIGURES, *FRAME_FIGURES, *JOB_FIGURES})
