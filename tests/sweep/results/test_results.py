"""The folder of a job: whose it is, what is finished in it, and the tables that sum it up."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
import yaml

from sweep import read_rd_table
from sweep.config import Job
from sweep.results import Results, Storage, read_status
from sweep.results.rows import rd_path, write_rd_table, write_swept
from sweep.results.table import frame_record
from sweep.schedule import FrameEnded, FrameSwept
from tests.sweep.ended import ENCODED, INFO, N_PAIRS, STEPS, done, failed, failed_after_arm, make_job, swept
from workers.answers import QuantizedAnswer
from workers.errors import ResultsError


def out(job: Job) -> Path:
    return Path(job.config.out)


def write_failed(storage: Storage, ended: FrameEnded) -> None:
    write_rd_table(storage, ended, frame_record(ended, f"{ended.frame}.png", None))


def unfinished(job: Job) -> list[str]:
    return [item.id for item in Results(job).unfinished]


# --- whose folder it is


def test_a_folder_may_be_missing_or_empty_or_hold_hidden_files(tmp_path: Path) -> None:
    for name, hidden in (("missing", None), ("empty", ""), ("killed", ".0f")):
        job = make_job(tmp_path / name, ["a", "b"])
        if hidden is not None:
            out(job).mkdir()
        if hidden:
            (out(job) / hidden).touch()
        assert unfinished(job) == ["a", "b"]
        assert (out(job) / "job.yaml").is_file()


def test_job_yaml_holds_the_resolved_configuration_the_seed_and_the_versions(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"], fit={"seed": 5, "lmbda": 1e-7})
    Results(job)
    content = yaml.safe_load((out(job) / "job.yaml").read_text())
    assert content["configuration"]["out"] == str(tmp_path / "out")
    assert content["configuration"]["ray"]["replicas"] == "auto"
    assert content["format"] == 2
    assert content["job"] == {
        "grid": STEPS,
        "sweep": {"mode": "full", "metric": "mse", "precision": "float32"},
        "fit": {
            "arch": "hop",
            "recipe": "fast",
            "seed": 5,
            "iterations": {"warmup": None, "phase_1": None, "phase_2": None},
        },
        "lmbda": None,
        "bitstream": None,
    }
    assert content["versions"].keys() >= {"qsweep", "python", "torch", "ray", "pyarrow"}
    manifest = pd.read_parquet(out(job) / "manifest.parquet").to_dict("records")
    assert [(row["id"], row["frame"], row["lmbda"]) for row in manifest] == [("a", str(tmp_path / "a.png"), 1e-7)]


def test_the_same_job_goes_on_whatever_it_runs_on(tmp_path: Path) -> None:
    Results(make_job(tmp_path, ["a"])).write_frame(done("a"))
    before = (tmp_path / "out" / "job.yaml").read_bytes()
    assert unfinished(make_job(tmp_path, ["a"], ray={"replicas": 7}, out="./out/")) == []
    assert (tmp_path / "out" / "job.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "different"),
    [
        (
            {"grid": STEPS | {"upsampling": {"weight": [0.5], "bias": [1.0]}}},
            r"grid.upsampling.weight: \[0.25\] there, \[0.5\] here",
        ),
        ({"bitstream": True}, "bitstream: None there, {'phase_3': 1000} here"),
        ({"fit": {"arch": "lop"}}, "fit.arch: hop there, lop here"),
        ({"fit": {"seed": 3}, "sweep": {"mode": "winner"}}, "fit.seed: 0 there, 3 here; sweep.mode: full .* here"),
        (
            {"fit": {"seed": 3}, "grid": "coolchic-3.4"},
            "fit.seed: 0 there, 3 here; grid.arm.bias: .*….*; grid.synthesis.bias: .*; and 2 more",
        ),
    ],
)
def test_another_job_is_refused_with_what_differs_and_nothing_is_touched(
    tmp_path: Path, changes: dict[str, Any], different: str
) -> None:
    Results(make_job(tmp_path, ["a"])).write_frame(done("a"))
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(ResultsError, match=rf"^{tmp_path}/out: holds the .* another job \({different}\); choose"):
        Results(make_job(tmp_path, ["a"], **changes))
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    out(job).mkdir()
    (out(job) / "thesis.tex").touch()
    with pytest.raises(ResultsError, match=f"^{out(job)}: is not empty, .*job.yaml is missing"):
        Results(job)
    assert [path.name for path in out(job).iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("content", [b"job: [", b"\xff\xfe", b"frames: []", b"job: []", b"job: 3", b"[]"])
def test_a_job_yaml_that_is_damaged_or_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    job = make_job(tmp_path, ["a"])
    out(job).mkdir()
    (out(job) / "job.yaml").write_bytes(content)
    with pytest.raises(ResultsError, match=f"^{out(job)}/job.yaml: damaged, or not of this program"):
        Results(job)


# --- what is finished


def test_frames_that_are_done_are_skipped_and_those_that_failed_are_tried_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b", "c", "d"])
    results = Results(job)
    for ended in (failed("d"), done("b"), failed_after_arm("c")):
        results.write_frame(ended)
    assert [item.id for item in results.unfinished] == ["a", "c", "d"]
    again = Results(job)
    assert [item.id for item in again.unfinished] == ["a", "c", "d"]
    frames = again.frames()
    assert frames["frame"].to_pylist() == ["b", "c", "d"]
    assert frames["error"].to_pylist() == [None, "RuntimeError: no more", "d.png: empty"], (
        "until they have ended once more"
    )
    again.write_frame(failed("c"))
    again.write_frame(done("c"))
    assert again.frames().select(["frame", "status", "error"]).to_pylist()[1] == {
        "frame": "c",
        "status": "done",
        "error": None,
    }
    assert again.frames().num_rows == 3


def test_a_job_that_goes_on_and_breaks_off_at_once_forgets_no_failure(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"])
    results = Results(job)
    results.write_frame(done("a"))
    results.write_frame(failed_after_arm("b"))
    results.write_summary()
    before = pd.read_parquet(out(job) / "frames.parquet")
    again = Results(job)
    with again.claimed():
        again.write_summary()
    pd.testing.assert_frame_equal(pd.read_parquet(out(job) / "frames.parquet"), before)


def test_what_another_driver_did_before_the_folder_was_ours_is_seen(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"])
    late = Results(job)
    Results(job).write_frame(done("a"))
    with late.claimed():
        assert [item.id for item in late.unfinished] == ["b"]
        assert late.frames()["frame"].to_pylist() == ["a"]


def test_what_a_driver_that_was_killed_has_left_twice_is_there_once_when_the_job_goes_on(
    tmp_path: Path,
) -> None:
    job = make_job(tmp_path, ["a", "b"], bitstream=True)
    results = Results(job)
    results.write_frame(done("a"))
    results.write_frame(failed_after_arm("b"))
    for name, leftover in (("a", failed_after_arm("a")), ("a", swept("a")), ("b", swept("b"))):
        write = write_swept if isinstance(leftover, FrameSwept) else write_failed
        write(results.storage, leftover)
        assert (out(job) / "rd_table" / f"frame={name}").is_dir()
    again = Results(job)
    assert len(read_rd_table(job.config.out)) == N_PAIRS + 4
    with again.claimed():
        assert len(pd.read_parquet(out(job) / "rd_table")) == N_PAIRS + 4, "for others that read the folder too"
        assert again.read_swept("b") is None


def test_a_driver_that_another_one_has_taken_over_from_writes_nothing_more(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    results.taken_over = True
    for write in (
        lambda: results.write_fitted("a", b"fitted"),
        lambda: results.write_swept(swept("a")),
        lambda: results.write_frame(done("a")),
        results.write_summary,
    ):
        with pytest.raises(ResultsError, match="another driver has taken over"):
            write()
    assert sorted(path.name for path in out(job).iterdir()) == ["job.yaml", "manifest.parquet"]


def test_a_table_over_all_frames_that_is_damaged_doubles_no_frame(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    results.write_frame(done("a"))
    results.write_summary()
    choices = pd.read_parquet(out(job) / "choices.parquet")
    choices.assign(loss="much").to_parquet(out(job) / "choices.parquet")
    again = Results(job)
    assert again.frames()["frame"].to_pylist() == ["a"]
    again.write_summary()
    pd.testing.assert_frame_equal(pd.read_parquet(out(job) / "choices.parquet"), choices)


def test_what_becomes_of_frames_meanwhile_brings_none_of_them_twice(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    results = Results(make_job(tmp_path, names))
    seen = []
    for item in results.unfinished:
        seen.append(item.id)
        results.write_fitted(item.id, b"fitted")
        if item.id == "b":
            results.write_frame(done("a"))
    assert seen == names


def test_what_was_swept_by_a_version_without_warnings_can_be_read(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"], bitstream=True)
    results = Results(job)
    results.write_swept(swept("a"))
    path = out(job) / rd_path("a", "swept")
    table = pq.read_table(path)
    known = json.loads(table.schema.metadata[b"qsweep.swept"])
    del known["info"]["warnings"]
    pq.write_table(table.replace_schema_metadata({b"qsweep.swept": json.dumps(known)}), path)

    assert Results(job).read_swept("a") == swept("a")


def test_a_frame_that_was_swept_is_gone_on_with_from_there(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"], bitstream=True)
    results = Results(job)
    whole = swept("a")
    whole = whole._replace(info=whole.info._replace(warnings=("it lies on its side",)))
    results.write_swept(whole)
    assert len(read_rd_table(job.config.out)) == N_PAIRS, "its rows can be read already"

    again = Results(job)
    assert [item.id for item in again.unfinished] == ["a", "b"]
    assert again.read_swept("a") == whole
    assert again.read_swept("b") is None
    again.write_frame(failed_after_arm("a"))
    again = Results(job)
    assert again.read_swept("a") is None
    assert len(pd.read_parquet(out(job) / "rd_table")) == 4, "of what ended, not of both"

    again.write_frame(done("a")._replace(quantized=ENCODED.quantized, encoded=ENCODED))
    assert [path.name for path in (out(job) / "rd_table" / "frame=a").iterdir()] == ["part-0.parquet"]
    assert (out(job) / "bitstreams" / "a.qsw").read_bytes() == ENCODED.bitstream
    (record,) = Results(job).frames().to_pylist()
    assert record["file_bytes"] == ENCODED.sizes.total == 60
    assert record["file_bpp"] == pytest.approx(8 * 60 / 200)
    assert (record["file_latent_bytes"], record["file_nn_bytes"]) == (30, 20)
    assert record["mse"] == ENCODED.mse
    assert record["psnr_db"] == pytest.approx(20.0)
    assert record["rate_latent_bpp"] == pytest.approx(200 / 200)
    rate_bpp = record["rate_latent_bpp"] + record["rate_nn_bpp"]
    assert record["distortion"] == ENCODED.distortion
    assert record["loss"] == pytest.approx(ENCODED.distortion + INFO.lmbda * rate_bpp)


def test_a_frame_that_fails_and_is_then_done_is_done_with_each_row_once(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    Results(job).write_frame(failed_after_arm("a"))
    assert len(read_rd_table(job.config.out)) == 4
    again = Results(job)
    again.write_frame(done("a"))
    again.write_summary()
    assert unfinished(job) == []
    assert len(read_rd_table(job.config.out)) == N_PAIRS
    assert pd.read_parquet(out(job) / "frames.parquet").status.tolist() == ["done"]


def test_a_frame_whose_encoder_is_written_but_not_its_rows_is_unfinished(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    (out(job) / "rd_table").touch()  # in the way of the rows
    with pytest.raises(ResultsError, match=r"rd_table/frame=a/part-0.parquet: cannot be written"):
        results.write_frame(done("a"))
    assert (out(job) / "quantized" / "a.safetensors").is_file()
    (out(job) / "rd_table").unlink()
    assert results.frames().num_rows == 0
    assert unfinished(job) == ["a"]


# --- what a power failure, or a full disk, has damaged


@pytest.mark.parametrize("content", [b"", bytes(100)])
def test_a_job_that_lost_its_description_right_at_its_beginning_begins_anew(tmp_path: Path, content: bytes) -> None:
    job = make_job(tmp_path, ["a"])
    Results(job)
    for name in ("job.yaml", "manifest.parquet"):
        (out(job) / name).write_bytes(content)
    assert unfinished(job) == ["a"]
    assert yaml.safe_load((out(job) / "job.yaml").read_text())["job"]
    assert len(pd.read_parquet(out(job) / "manifest.parquet")) == 1

    Results(job).write_frame(done("a"))
    (out(job) / "job.yaml").write_bytes(content)
    with pytest.raises(ResultsError, match=f"^{out(job)}/job.yaml: damaged, .* choose another folder"):
        Results(job)


def test_a_list_of_frames_that_is_cut_off_is_written_again_and_kept(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    Results(job)
    path = out(job) / "manifest.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    Results(job)
    assert path.read_bytes() == whole
    assert (out(job) / "damaged" / "manifest.parquet").read_bytes() == whole[:-20]


DAMAGE = {
    "empty": lambda _: b"",
    "cut": lambda content: content[:-50],
    "zeros": lambda content: bytes(len(content)),
    "text": lambda _: b"not a table",
    "garbled": lambda content: content[:4] + bytes(600) + content[604:],
}


@pytest.mark.parametrize("summed_up", [False, True])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_frame_whose_rows_are_damaged_is_done_again_and_the_file_is_kept(
    tmp_path: Path, damage: str, summed_up: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if summed_up and damage == "garbled":
        pytest.skip("where the tables over all frames know a frame, its rows are not read")
    job = make_job(tmp_path, ["a", "b"])
    results = Results(job)
    results.write_frame(done("a"))
    results.write_frame(done("b"))
    if summed_up:
        results.write_summary()
    path = out(job) / "rd_table" / "frame=a" / "part-0.parquet"
    content = DAMAGE[damage](path.read_bytes())
    path.write_bytes(content)
    again = Results(job)
    assert [item.id for item in again.unfinished] == ["a"]
    assert again.frames()["frame"].to_pylist() == ["b"]
    with again.claimed():
        again.write_frame(done("a"))
    assert f"{path}: " in caplog.text
    assert (out(job) / "damaged" / "rd_table" / "frame=a" / "part-0.parquet").read_bytes() == content
    assert unfinished(job) == []
    assert "2 of 2 frames done, 0 failed" in read_status(job.config.out)
    tables = [read_rd_table(job.config.out), pd.read_parquet(out(job) / "rd_table")]
    tables += [pl.read_parquet(out(job) / "rd_table"), pl.scan_parquet(out(job) / "rd_table").collect()]
    assert [len(table) for table in tables] == [2 * N_PAIRS] * 4


def test_a_table_of_something_else_is_no_frame(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    Results(job).write_frame(done("a"))
    pd.DataFrame({"frame": ["a"]}).to_parquet(out(job) / "rd_table" / "frame=a" / "part-0.parquet")
    assert unfinished(job) == ["a"]


CHECKPOINT = safetensors.torch.save({"arm.weight": torch.zeros(100)})
BITSTREAM = b"qsw" + bytes(range(57))


@pytest.mark.parametrize("name", ["quantized/a.safetensors", "bitstreams/a.qsw"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "zeros"])
def test_a_frame_that_lacks_a_whole_file_is_done_again(tmp_path: Path, name: str, damage: str) -> None:
    job = make_job(tmp_path, ["a", "b"], bitstream=True)
    encoded = ENCODED._replace(bitstream=BITSTREAM)
    whole = done("a")._replace(quantized=QuantizedAnswer(CHECKPOINT, (1.0,)), encoded=encoded)
    results = Results(job)
    results.write_frame(whole)
    results.write_summary()
    assert unfinished(job) == ["b"]
    path = out(job) / name
    content = {"empty": b"", "cut": path.read_bytes()[:-1], "zeros": bytes(path.stat().st_size)}.get(damage)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    again = Results(job)
    assert [item.id for item in again.unfinished] == ["a", "b"]
    with again.claimed():
        again.write_frame(failed("a"))
    assert Results(job).frames()["status"].to_pylist() == ["failed"], "and not done by the rows of before"
    assert content is None or (out(job) / "damaged" / name).read_bytes() == content
    again.write_frame(whole)
    assert unfinished(job) == ["b"]


@pytest.mark.parametrize("content", [b"", CHECKPOINT[:-1], CHECKPOINT[:50], bytes(500)])
def test_a_fitted_encoder_that_is_cut_off_is_fitted_again(tmp_path: Path, content: bytes) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    results.write_fitted("a", CHECKPOINT)
    assert Results(job).is_fitted("a")
    (out(job) / "fitted" / "a.safetensors").write_bytes(content)
    again = Results(job)
    assert not again.is_fitted("a")
    with again.claimed():
        again.write_fitted("a", CHECKPOINT)
    assert Results(job).is_fitted("a")


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("status", ["swept", "failed"])
def test_damaged_rows_of_what_is_not_done_are_forgotten(tmp_path: Path, status: str, damage: str) -> None:
    job = make_job(tmp_path, ["a"], bitstream=True)
    results = Results(job)
    results.write_swept(swept("a")) if status == "swept" else results.write_frame(failed_after_arm("a"))
    path = out(job) / "rd_table" / "frame=a" / f"{status}-0.parquet"
    content = DAMAGE[damage](path.read_bytes())
    path.write_bytes(content)
    again = Results(job)
    with again.claimed():
        if status == "failed" and damage == "garbled":
            assert again.frames()["error"].to_pylist() == ["RuntimeError: no more"], (
                "the record is not among the rows"
            )
            return
        assert again.read_swept("a") is None
        assert again.frames().num_rows == 0
    assert (out(job) / "damaged" / path.relative_to(out(job))).read_bytes() == content
    assert not path.exists()


# --- names that begin with a dot


def test_frames_whose_id_begins_with_a_dot_are_like_others(tmp_path: Path) -> None:
    names = [".dot", "_x", ".0123456789abcdef0123456789abcdef"]
    job = make_job(tmp_path, names, bitstream=True)
    results = Results(job)
    for name in names:
        results.write_fitted(name, b"fitted")
    assert [item.id for item in Results(job).unfinished] == names
    assert Results(job).n_fits == 0, "none is fitted again"
    assert f"{len(names)} fitted" in read_status(job.config.out)
    for name in names:
        results.write_frame(done(name)._replace(quantized=ENCODED.quantized, encoded=ENCODED))
    assert unfinished(job) == []
    table = pd.read_parquet(out(job) / "rd_table")
    assert table.groupby("frame", observed=True).size().to_dict() == dict.fromkeys(names, N_PAIRS)
    assert len(read_rd_table(job.config.out)) == 3 * N_PAIRS


def test_an_encoder_that_was_fitted_is_kept_and_found_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    assert not results.is_fitted("a")
    assert results.n_fits == 1
    results.write_fitted("a", b"fitted")
    again = Results(job)
    assert again.is_fitted("a")
    assert again.n_fits == 0
    assert again.storage.read(again.fitted_path("a")) == b"fitted"
    assert results.write_frame(done("a"))["encoder"] == str(out(job) / "fitted" / "a.safetensors")


# --- the tables over all frames


def test_the_tables_over_all_frames_say_what_the_rows_say(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["c", "b", "a"], frames=["c.png", "b.png", {"frame": "a.png", "encoder": "e"}])
    results = Results(job)
    for ended in (done("a"), failed_after_arm("b"), done("c")):
        results.write_frame(ended)
    results.write_summary()

    rows = read_rd_table(job.config.out)
    frames = pd.read_parquet(out(job) / "frames.parquet").set_index("frame")
    assert frames.index.tolist() == ["c", "b", "a"], "in the order of the configuration"
    assert frames.status.tolist() == ["done", "failed", "done"]
    assert frames.error.dropna().to_dict() == {"b": "RuntimeError: no more"}
    assert frames.path.tolist() == [str(tmp_path / f"{name}.png") for name in ("c", "b", "a")]
    assert frames.encoder.dropna().to_dict() == {"a": str(tmp_path / "e")}
    assert frames.seconds.tolist() == [4.5] * 3
    final = rows[rows.chosen & (rows.module == "upsampling")].set_index("frame")
    for column in ("loss", "mse", "psnr_db", "lmbda"):
        assert frames[column][["a", "c"]].tolist() == final[column][["a", "c"]].tolist()
    pixels = frames.width * frames.height
    for kind in ("latent", "nn"):
        bits = (frames[f"rate_{kind}_bpp"] * pixels)[["a", "c"]].tolist()
        assert bits == pytest.approx(final[f"rate_{kind}_bit"][["a", "c"]].astype(float).tolist())
    assert frames.loc["b", ["loss", "mse", "psnr_db", "rate_latent_bpp", "rate_nn_bpp"]].isna().all()

    choices = pd.read_parquet(out(job) / "choices.parquet")
    assert choices.frame.tolist() == ["c"] * 3 + ["a"] * 3
    chosen = rows[rows.chosen & (rows.frame != "b")].sort_values("frame", ascending=False, kind="stable")
    for column in choices.columns:
        assert choices[column].tolist() == chosen[column].tolist(), column
    assert set(choices.columns) >= {"q_step_weight", "q_step_bias", "expgol_cnt_weight", "expgol_cnt_bias", "loss"}

    assert sorted(path.name for path in (out(job) / "quantized").iterdir()) == ["a.safetensors", "c.safetensors"]
    assert (out(job) / "quantized" / "a.safetensors").read_bytes() == b"quantized a"


def test_a_job_that_goes_on_sums_up_what_was_done_before_too(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"])
    Results(job).write_frame(done("b"))
    again = Results(job)
    again.write_frame(done("a"))
    again.write_summary()
    assert pd.read_parquet(out(job) / "frames.parquet").frame.tolist() == ["a", "b"]
    assert pd.read_parquet(out(job) / "choices.parquet").frame.tolist() == ["a"] * 3 + ["b"] * 3


def test_the_tables_of_a_job_without_any_result_are_there_and_empty(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    Results(job).write_summary()
    for name in ("frames", "choices"):
        table = pd.read_parquet(out(job) / f"{name}.parquet")
        assert table.empty
        assert "loss" in table.columns
