"""``.cool`` files of jobs and of single pictures: written, imported and exported."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner, Result

from sweep.cli import app
from sweep.config import FitConfig, load_job, search_factory
from sweep.driver import LocalPool, Observers, Tally, run_one
from sweep.evaluate import evaluate
from sweep.job import run_on
from sweep.results import Results
from tests.cases import CASES, CASES_5
from tests.workers.bitstream.cool.official import FILES, PICTURES, content_of
from tests.workers.codec.formats.files import FILES as CHECKPOINTS
from workers.bitstream.cool.coding import decode_cool
from workers.bitstream.decoded_picture import frame_of
from workers.codec import read_frame, read_frame_encoder
from workers.errors import CheckpointError, ConfigError, InputError
from workers.objective.loss import mean_squared_error
from workers.psnr import psnr_db
from workers.replica import Replica
from workers.source import FrameSource

CASE = CASES_5 / "astronaut_50x70_plain"
YUV = CASES_5 / "coffee_64x96_yuv420_lop"
OLD = CASES / "astronaut_64x96_lop"
IMPORTED = 'frame encoder with quantized networks, as "qsweep encode" writes them; the file has no lmbda'
OFFICIAL_FRAMES = {
    "coffee_64x96_yuv420_lop": "a_96x64_1p_yuv420_8b.yuv",
    "narrow_21x9_yuv444_10b": "a_9x21_1p_yuv444_10b.yuv",
}
"""What pictures of official files are called where the name says the format."""


def qsweep(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_config(folder: Path, **changes: Any) -> Path:
    frames = [
        {"frame": str(next(case.glob("frame*"))), "encoder": str(case / "encoder.safetensors")}
        for case in (CASE, YUV)
    ]
    content = {"frames": frames, "out": "out", "bitstream": "cool", "sweep": {"mode": "winner"}} | changes
    config = folder / "job.yaml"
    config.write_text(yaml.safe_dump(content))
    return config


@contextmanager
def silent(_: Tally) -> Iterator[Observers]:
    yield Observers([])


# --- jobs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a job over two pictures, one of them yuv420."""
    folder = tmp_path_factory.mktemp("job")
    job = load_job(write_config(folder))
    results = Results(job)
    with results.claimed():
        run_on(LocalPool(Replica("cpu")), job, results, silent)
        results.write_summary()
    return folder / "out"


IDS = {"frame": CASE, "frame_96x64_01p_yuv420_8b": YUV}


@pytest.mark.parametrize("frame", IDS)
def test_a_frame_ends_as_a_file_that_decodes_to_what_is_reported(finished: Path, frame: str) -> None:
    record = pd.read_parquet(finished / "frames.parquet").set_index("frame").loc[frame]
    content = (finished / "bitstreams" / f"{frame}.cool").read_bytes()
    assert record.status == "done"
    assert record.file_bytes == len(content)
    height, width = record.height, record.width
    assert record.file_bpp == 8 * len(content) / (height * width)
    picture = read_frame(next(IDS[frame].glob("frame*")))
    mse = mean_squared_error(frame_of(decode_cool(content)).data, picture.data).item()
    assert (record.mse, record.psnr_db) == (mse, psnr_db(mse))
    assert record.rate_latent_bpp == pytest.approx(sum(record.rate_grid_bit) / (height * width))
    assert 0 <= record.file_latent_bytes - sum(record.rate_grid_bit) / 8 < 8
    rate_bpp = record.rate_latent_bpp + record.rate_nn_bpp
    assert record.loss == pytest.approx(mse + record.lmbda * rate_bpp)
    assert 0 <= record.file_bpp - rate_bpp <= 0.005 * rate_bpp + 800 / (height * width)


def test_choices_are_those_of_the_reference_and_latents_are_written_as_they_were(finished: Path) -> None:
    """The recipe of Cool-Chic 5 ends with the sweep."""
    choices = pd.read_parquet(finished / "choices.parquet").set_index("frame").loc["frame"].set_index("module")
    expected = json.loads((CASE / "choice.json").read_text())
    table = pd.read_parquet(CASE / "rd_table.parquet")
    chosen = table[table.chosen].set_index("module")
    assert expected
    for column in ("q_step_weight", "q_step_bias", "expgol_cnt_weight", "expgol_cnt_bias"):
        assert choices[column].to_dict() == chosen[column].to_dict()
    quantized, _ = read_frame_encoder(finished / "quantized" / "frame.safetensors")
    given, _ = read_frame_encoder(CASE / "encoder.safetensors")
    for key, value in given.state_dict().items():
        if "latent_grids" in key:
            assert (quantized.state_dict()[key] == value).all()


def test_the_same_files_are_written_by_encode_and_export(finished: Path, tmp_path: Path) -> None:
    for frame, case in IDS.items():
        content = (finished / "bitstreams" / f"{frame}.cool").read_bytes()
        target = tmp_path / f"{frame}.cool"
        picture = next(case.glob("frame*"))
        result = qsweep("encode", picture, "--encoder", case / "encoder.safetensors", "-o", target)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith(f"{target}: {len(content)} bytes, ")
        assert target.read_bytes() == content
        result = qsweep("export", finished, "--frame", frame, "-o", tmp_path / "exported.cool")
        assert result.exit_code == 0, result.stderr
        assert re.fullmatch(rf"{tmp_path}/exported.cool: {len(content)} bytes, \d+\.\d{{4}} bpp\n", result.stdout)
        assert (tmp_path / "exported.cool").read_bytes() == content


def test_a_job_that_resumes_finds_its_files_and_makes_a_lost_one_again(finished: Path) -> None:
    config = finished.parent / "job.yaml"
    assert Results(load_job(config)).n_unfinished == 0
    path = finished / "bitstreams" / "frame.cool"
    content = path.read_bytes()
    try:
        for damage in (content[:-1], b"", bytes(len(content))):
            path.write_bytes(damage)
            assert [item.id for item in Results(load_job(config)).unfinished] == ["frame"]
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(("bitstream", "found"), [("false", "None"), ("true", "None")])
def test_results_of_another_format_are_another_job(
    finished: Path, bitstream: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.config.job_config.check_encodable", lambda *_: None)
    result = qsweep("run", finished.parent / "job.yaml", "--set", f"bitstream={bitstream}")
    assert result.exit_code == 2
    assert "holds the results of another job (bitstream" in result.stderr
    assert "cool" in result.stderr
    assert found in result.stderr


def test_files_are_evaluated_and_counted_like_others(finished: Path) -> None:
    points = evaluate(str(finished)).points
    own = points[points.codec == "qsweep"].set_index("frame")
    records = pd.read_parquet(finished / "frames.parquet").set_index("frame")
    assert own.bytes.to_dict() == records.file_bytes.to_dict()
    assert own.psnr_db.to_dict() == pytest.approx(records.psnr_db.to_dict())
    assert points.codec.nunique() > 1
    assert qsweep("report", finished).exit_code == 0


# --- what a .cool file cannot hold


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"encoder": str(OLD / "encoder.safetensors")},
            "encoder.safetensors: a .cool file holds frame encoders of",
        ),
        ({"encoder": str(CHECKPOINTS["lop-3.4.1"])}, "video_encoder.pt: a .cool file holds frame encoders of the"),
        ({"encoder": str(CHECKPOINTS["lop-4.2.1"])}, "found coolchic-3.4: write a .qsw file of it"),
        ({}, "frame frame has no encoder and would be fitted; a .cool file holds frame encoders of the family"),
    ],
)
def test_encoders_of_3_4_are_refused_before_anything_is_started(
    entry: dict[str, str], message: str, tmp_path: Path
) -> None:
    config = write_config(tmp_path, frames=[{"frame": str(OLD / "frame.png")} | entry])
    result = qsweep("run", config)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"qsweep: {config}: bitstream: frame frame")
    assert message in result.stderr
    assert "bitstream: true" in result.stderr
    assert not (tmp_path / "out").exists(), "the same folder is free for bitstream: true"


def test_what_cannot_be_looked_at_is_left_to_its_frame(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    encoders = [tmp_path / "no.safetensors", tmp_path / "broken.safetensors", CHECKPOINTS["lop-5.0.1"]]
    frames = [{"frame": str(CASE / "frame.png"), "encoder": str(encoder), "lmbda": 0.1} for encoder in encoders]
    assert len(load_job(write_config(tmp_path, frames=frames)).frames) == 3


def test_a_frame_is_refused_when_it_is_opened_before_anything_is_measured() -> None:
    source = FrameSource(
        "a", partial(read_frame, OLD / "frame.png"), partial(read_frame_encoder, OLD / "encoder.safetensors")
    )
    replica = Replica("cpu")
    assert replica.open(source, "qsw").networks
    with pytest.raises(InputError, match=r"found coolchic-3\.4: write a \.qsw file"):
        replica.open(source, "cool")


def test_other_formats_are_none(tmp_path: Path) -> None:
    for value in ("qsw", "heic"):
        with pytest.raises(ConfigError, match=rf"bitstream: accepted: true, .* cool, .* or false; found '{value}'"):
            load_job(write_config(tmp_path, bitstream=value))


@pytest.mark.parametrize("encoder", [None, OLD / "encoder.safetensors"])
def test_encode_says_what_can_be_written_instead(
    encoder: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("it was fitted or swept before")

    for name in ("fit", "measure"):
        monkeypatch.setattr(f"workers.replica.Replica.{name}", forbidden)
    options = () if encoder is None else ("--encoder", encoder)
    result = qsweep("encode", OLD / "frame.png", "-o", tmp_path / "a.cool", *options)
    assert result.exit_code == 2
    instead = (
        "give --encoder (Cool-Chic 5), or write .qsw" if encoder is None else "write a .qsw file of it (-o x.qsw;"
    )
    assert instead in result.stderr
    assert list(tmp_path.iterdir()) == []


# --- files as checkpoints


@pytest.mark.parametrize("name", PICTURES)
def test_an_imported_file_is_written_again_byte_for_byte(name: str, tmp_path: Path) -> None:
    encoder, target = tmp_path / "a.safetensors", tmp_path / "b.cool"
    result = qsweep("import", FILES / f"{name}.cool", "-o", encoder)
    assert (result.exit_code, result.stdout) == (0, f"{encoder}: {IMPORTED}\n"), result.stderr
    picture = tmp_path / OFFICIAL_FRAMES.get(name, "a.png")
    assert qsweep("decode", FILES / f"{name}.cool", "-o", picture).exit_code == 0
    result = qsweep("encode", picture, "--encoder", encoder, "-o", target)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("inf dB; its networks were quantized already, and are written as they were\n")
    assert target.read_bytes() == content_of(name)


def test_an_imported_file_is_shown_and_has_nothing_to_sweep(tmp_path: Path) -> None:
    name = "astronaut_64x96_lop"
    encoder = tmp_path / "a.safetensors"
    assert qsweep("import", FILES / f"{name}.cool", "-o", encoder).exit_code == 0
    imported, file = (
        json.loads(qsweep("show", path, "--json").stdout) for path in (encoder, FILES / f"{name}.cool")
    )
    assert (imported["state"], imported["lmbda"]) == ("swept", None)
    for ours, theirs in zip(imported["networks"], file["networks"], strict=True):
        assert [ours[key] for key in ("q_step", "expgol_cnt")] == [theirs[key] for key in ("q_step", "expgol_cnt")]
    of_imported, of_file = (
        sum(grid["rate_bit"] for grid in found["coolchics"]["residue"]["grids"]) for found in (imported, file)
    )
    assert of_imported == pytest.approx(of_file, rel=0.01)  # the estimate of float32 beside what is coded

    source = FrameSource(
        "a",
        partial(read_frame, FILES / f"{name}.png"),
        partial(read_frame_encoder, encoder, None, 0.001),
        encoder_name="a.safetensors",
    )
    with pytest.raises(CheckpointError, match=r"a\.safetensors: its networks are quantized, .* nothing to sweep"):
        run_one(LocalPool(Replica("cpu")), source, search_factory("winner", {}), FitConfig())


def test_a_weight_of_the_rate_may_be_given(tmp_path: Path) -> None:
    encoder = tmp_path / "a.safetensors"
    result = qsweep("import", FILES / "odd_37x83.cool", "-o", encoder, "--lmbda", 0.002)
    assert (result.exit_code, result.stdout) == (0, f"{encoder}: frame encoder, lmbda 0.002\n")
    assert read_frame_encoder(encoder)[1].lmbda == 0.002


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the frame encoder's file is empty"),
        (content_of("odd_37x83")[:-4], "latents of the residue of frame 0: truncated"),
        (content_of("video_48x64_yuv420"), "only files of one picture can be decoded; found 3 frames"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / ("a.cool" if content else "a")
    file.write_bytes(content)
    result = qsweep("import", file, "-o", tmp_path / "a.safetensors")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"qsweep: {file}: {message}")
    assert not (tmp_path / "a.safetensors").exists()


def test_an_encoder_for_another_picture_is_refused(tmp_path: Path) -> None:
    encoder = tmp_path / "a.safetensors"
    assert qsweep("import", FILES / "odd_37x83.cool", "-o", encoder).exit_code == 0
    result = qsweep("encode", CASE / "frame.png", "--encoder", encoder, "-o", tmp_path / "b.cool")
    assert result.exit_code == 2
    assert "the frame encoder is for a frame of 83×37 rgb 8 bits; the frame is 70×50 rgb 8 bits" in result.stderr
