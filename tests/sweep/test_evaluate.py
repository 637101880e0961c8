"""``qsweep eval``: rate and distortion of real files, beside other codecs."""

import io
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from sweep import evaluate as evaluate_module
from sweep.cli import app
from sweep.config import load_job
from sweep.evaluate import evaluate
from sweep.results import Results, Storage
from tests.cases import CASES
from tests.sweep.ended import ENCODED, STEPS, done
from tests.workers.bitstream.test_golden import GOLDEN
from workers.bitstream import SectionBytes, decode_frame
from workers.codec import read_frame
from workers.errors import InputError, ResultsError
from workers.evaluation import Point, anchor_point, bd_rate
from workers.objective.loss import mean_squared_error
from workers.psnr import psnr_db

PICTURE = CASES / "astronaut_64x96_lop" / "frame.png"
YUV = next((CASES / "coffee_64x96_yuv420").glob("*.yuv"))


@pytest.fixture(autouse=True)
def _few_qualities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_module, "QUALITIES", (10, 40, 70, 95))


def make_results(folder: Path, frames: list[dict[str, Any]], files: dict[str, bytes]) -> str:
    """Results of a job over some frames, with these bitstreams."""
    config = folder / "job.yaml"
    config.write_text(yaml.safe_dump({"frames": frames, "out": "out", "grid": {**STEPS}, "bitstream": True}))
    job = load_job(config)
    results = Results(job)
    for item in job.frames:
        if item.id in files:
            content = files[item.id]
            encoded = ENCODED._replace(bitstream=content, sizes=SectionBytes(0, 0, len(content)))
            ended = done(item.id)
            assert ended.info is not None
            info = ended.info._replace(lmbda=item.lmbda or 1e-3)
            results.write_frame(ended._replace(encoded=encoded, info=info))
    results.write_summary()
    return job.config.out


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.qsw").read_bytes()


def qsweep(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_every_file_is_decoded_and_compared_with_its_picture(tmp_path: Path) -> None:
    out = make_results(tmp_path, [{"frame": str(PICTURE)}], {"frame": golden("astronaut_64x96_lop")})
    evaluation = evaluate(out)

    points = pd.read_parquet(tmp_path / "out" / "eval_points.parquet")
    (own,) = points[points.codec == "qsweep"].to_dict("records")
    decoded = decode_frame(golden("astronaut_64x96_lop"))
    mse = mean_squared_error(decoded.data, read_frame(PICTURE).data).item()
    assert own["bytes"] == len(golden("astronaut_64x96_lop"))
    assert own["bpp"] == 8 * own["bytes"] / (64 * 96)
    assert own["psnr_db"] == psnr_db(mse)
    assert (own["picture"], own["frame"], own["parameter"]) == (str(PICTURE), "frame", 1e-3)
    assert points.groupby("codec").size().to_dict() == {"qsweep": 1, "jpeg": 4, "webp": 4, "avif": 4}
    jpeg = points[(points.codec == "jpeg") & (points.parameter == 70)].iloc[0]
    sink = io.BytesIO()
    Image.open(PICTURE).convert("RGB").save(sink, "JPEG", quality=70)
    assert jpeg["bytes"] == len(sink.getvalue())
    assert evaluation.failures == []
    assert pd.read_parquet(tmp_path / "out" / "eval_bd_rates.parquet").bd_rate.isna().all()
    with Image.open(tmp_path / "out" / "eval_curves.png") as picture:
        assert min(picture.size) > 300


def test_several_lmbda_make_a_curve_with_bd_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter([Point("qsweep", 0.001, 900, 1.17, 33.0), Point("qsweep", 0.01, 300, 0.39, 27.0)])
    monkeypatch.setattr(evaluate_module, "bitstream_point", lambda *_: next(calls))
    files = dict.fromkeys(("frame@0.001", "frame@0.01"), golden("astronaut_64x96_lop"))
    out = make_results(tmp_path, [{"frame": str(PICTURE), "lmbda": [0.001, 0.01]}], files)
    result = qsweep("eval", out)
    assert result.exit_code == 0, result.output
    bd_rates = pd.read_parquet(tmp_path / "out" / "eval_bd_rates.parquet")
    assert bd_rates.anchor.tolist() == ["jpeg", "webp", "avif"]
    assert bd_rates.bd_rate.notna().all()
    for anchor, value in zip(bd_rates.anchor, bd_rates.bd_rate, strict=True):
        assert f"BD-rate against {anchor}: {value:+.1%}, the mean of 1 of 1 pictures" in result.stdout
    assert "eval_curves.png" in result.stdout


def test_a_yuv_frame_is_measured_but_not_compared(tmp_path: Path) -> None:
    out = make_results(tmp_path, [{"frame": str(YUV)}], {YUV.stem: golden("coffee_64x96_yuv420")})
    evaluation = evaluate(out)
    assert evaluation.points.codec.tolist() == ["qsweep"]
    assert len(evaluation.bd_rates) == 0
    with pytest.raises(InputError, match="rgb frames alone; found yuv420"):
        anchor_point("jpeg", 50, read_frame(YUV))


def test_frames_of_one_file_are_compared_each_with_its_own_picture(tmp_path: Path) -> None:
    several = tmp_path / YUV.name
    several.write_bytes(bytes(YUV.stat().st_size) + YUV.read_bytes())
    frames = [{"frame": str(several), "frame_index": index} for index in (1, 0)]
    files = {f"{YUV.stem}-{index:04d}": golden("coffee_64x96_yuv420") for index in (0, 1)}
    out = make_results(tmp_path, frames, files)

    points = evaluate(out).points.set_index("frame")

    assert points.picture.to_dict() == {f"{YUV.stem}-{index:04d}": f"{several} frame {index}" for index in (1, 0)}
    decoded = decode_frame(golden("coffee_64x96_yuv420"))
    mse = mean_squared_error(decoded.data, read_frame(YUV).data).item()
    assert points.psnr_db[f"{YUV.stem}-0001"] == psnr_db(mse)
    assert points.psnr_db[f"{YUV.stem}-0000"] < 10
    assert pd.read_parquet(f"{out}/frames.parquet").frame_index.tolist() == [1, 0]
    assert pd.read_parquet(f"{out}/manifest.parquet").frame_index.tolist() == [1, 0]


def test_a_frame_of_10_bits_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6 1 1 1023\n" + bytes(6))
    with pytest.raises(InputError, match="8 bits alone; found 10"):
        anchor_point("jpeg", 50, read_frame(tmp_path / "a.ppm"))


def test_a_file_or_picture_that_is_lost_or_another_is_told_and_the_others_are_compared(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "other.png")
    frames = [{"frame": str(PICTURE)}, {"frame": str(tmp_path / "other.png")}, {"frame": str(tmp_path / "no.png")}]
    files = {name: golden("astronaut_64x96_lop") for name in ("frame", "other", "no")}
    out = make_results(tmp_path, frames, files)
    result = qsweep("eval", out)
    assert result.exit_code == 1
    assert "other.png: the decoded frame is 96×64 rgb 8 bits; the frame is 8×8 rgb 8 bits" in result.stdout
    assert "no.png: the frame cannot be read" in result.stdout
    points = pd.read_parquet(tmp_path / "out" / "eval_points.parquet")
    assert set(points[points.codec == "qsweep"].picture) == {str(PICTURE)}
    (tmp_path / "out" / "bitstreams" / "frame.qsw").write_bytes(b"qs")
    assert f"out/bitstreams/frame.qsw, of {PICTURE}: not a .qsw or .cool file: " in qsweep("eval", out).stdout


def test_a_job_without_bitstreams_is_status_2(tmp_path: Path) -> None:
    out = make_results(tmp_path, [{"frame": str(PICTURE)}], {})
    with pytest.raises(ResultsError, match="there are no bitstreams; run the job with bitstream: true"):
        evaluate(out)
    assert qsweep("eval", out).exit_code == 2
    assert qsweep("eval", tmp_path / "nothing").exit_code == 2


def test_without_the_extra_it_says_so_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = make_results(tmp_path, [{"frame": str(PICTURE)}], {"frame": golden("astronaut_64x96_lop")})

    def forbidden(*_: object) -> None:
        raise AssertionError("work was done before")

    monkeypatch.setitem(sys.modules, "bjontegaard", None)
    monkeypatch.setattr(evaluate_module, "bitstream_point", forbidden)
    result = qsweep("eval", out)
    assert result.exit_code == 2
    assert "bjontegaard is missing: in a clone of qsweep run scripts/setup eval" in result.stderr


def test_results_that_cannot_be_written_are_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make_results(tmp_path, [{"frame": str(PICTURE)}], {"frame": golden("astronaut_64x96_lop")})

    def read_only(_: Storage) -> None:
        raise ResultsError(f"{out}: cannot be written")

    def forbidden(*_: object) -> None:
        raise AssertionError("work was done before")

    monkeypatch.setattr(Storage, "probe", read_only)
    monkeypatch.setattr(evaluate_module, "bitstream_point", forbidden)
    monkeypatch.setattr("sweep.report.page.read_as", forbidden)
    for command in ("eval", "report"):
        result = qsweep(command, out)
        assert (result.exit_code, result.stderr) == (2, f"qsweep: {out}: cannot be written\n")


def test_a_picture_that_another_codec_cannot_hold_is_told_and_compared_with_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make_results(tmp_path, [{"frame": str(PICTURE)}], {"frame": golden("astronaut_64x96_lop")})

    def save(*_: object) -> None:
        raise OSError("encoding error 5: Image size exceeds WebP limit of 16383 pixels")

    monkeypatch.setitem(Image.SAVE, "WEBP", save)
    evaluation = evaluate(out)
    assert set(evaluation.points.codec) == {"qsweep", "jpeg", "avif"}
    reason = "encoding error 5: Image size exceeds WebP limit of 16383 pixels"
    assert evaluation.failures == [f"{PICTURE}: webp cannot hold the frame: {reason}"]


def test_a_codec_that_pillow_cannot_write_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = make_results(tmp_path, [{"frame": str(PICTURE)}], {"frame": golden("astronaut_64x96_lop")})
    monkeypatch.delitem(Image.SAVE, "AVIF")
    evaluation = evaluate(out)
    assert set(evaluation.points.codec) == {"qsweep", "jpeg", "webp"}
    assert "this Pillow cannot write it: avif" in caplog.text


# --- BD-rates


def curve(factor: float, codec: str = "jpeg") -> list[Point]:
    """A curve that needs so many times the bits of the one of factor 1."""
    return [Point(codec, n, 0, factor * 0.1 * 2**n, 28.0 + 3 * n) for n in range(5)]


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.3])
def test_a_bd_rate_is_what_more_bits_are_needed(factor: float) -> None:
    assert bd_rate(curve(1.0), curve(factor, "qsweep")) == pytest.approx(factor - 1, abs=1e-9)


def test_points_that_cost_more_than_better_ones_are_left_out() -> None:
    worse = Point("jpeg", 9, 0, 3.0, 29.0)
    assert bd_rate([worse, *curve(1.0)], curve(0.8)) == pytest.approx(-0.2, abs=1e-9)
    perfect = Point("jpeg", 9, 0, 30.0, math.inf)
    assert bd_rate([*curve(1.0), perfect], curve(0.8)) == pytest.approx(-0.2, abs=1e-9)


def test_curves_that_cannot_be_compared_have_none() -> None:
    above = [point._replace(psnr_db=point.psnr_db + 50) for point in curve(1.0)]
    assert bd_rate(curve(1.0), above) is None
    assert bd_rate(curve(1.0), curve(1.0)[:1]) is None
    assert bd_rate([], curve(1.0)) is None
