"""Inputs and results behind URIs: a real S3-compatible server, also when it does not answer as it should."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from sweep import read_rd_table
from sweep.cli import app
from sweep.report import write_report
from sweep.results import Results, Storage, claim, read_status, storage
from sweep.results.claim import Claim, read_owner
from tests.cases import CASES
from tests.object_store import BUCKET, ObjectStore
from tests.sweep.ended import N_PAIRS, done, failed_after_arm, make_job
from tests.waiting import LONG_SECONDS
from workers import files
from workers.codec import read_frame
from workers.errors import ClaimError, FrameFileError, ResultsError

FOLDER = CASES / "astronaut_64x96_lop"
QUICK = pytest.mark.usefixtures("_quick")


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes takes seconds."""
    monkeypatch.setattr(claim, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", LONG_SECONDS)


# --- results


@pytest.mark.parametrize("name", ["plain", "with space", "ünï", "100%", "%41", "a=b", "a+b", "a#b", "x/y/z"])
def test_what_is_written_is_read_again(object_store: ObjectStore, name: str) -> None:
    place = Storage(object_store.uri(f"out/{name}"))
    assert place.is_empty()
    assert not place.local
    place.write("a/b.bin", b"first")
    place.write("a/b.bin", b"content")
    assert place.read("a/b.bin") == files.read_bytes(place.location("a/b.bin")) == b"content"
    assert place.is_file("a/b.bin")
    assert not place.is_file("a")
    assert [file.path for file in place.files("a")] == ["a/b.bin"]
    assert abs(place.files("a")[0].seconds - time.time()) < 60
    assert not place.is_empty()
    assert object_store.files.get_file_info(f"{BUCKET}/out/{name}/a/b.bin").size == 7
    place.delete("a/b.bin")
    place.delete("a/b.bin")
    assert place.files("a") == []


def test_messages_name_the_place_without_options_and_credentials(object_store: ObjectStore) -> None:
    place = Storage(f"s3://test:secret@{BUCKET}/out?{object_store.options}")
    place.write("a", b"content")
    assert place.describe("a") == f"s3://{BUCKET}/out/a"
    with pytest.raises(ResultsError, match=f"^s3://{BUCKET}/out/b: cannot be read") as raised:
        place.read("b")
    assert "secret" not in str(raised.value)


@pytest.fixture
def environment(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment says where the server is."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    files._filesystem.cache_clear()
    yield
    files._filesystem.cache_clear()


@pytest.mark.usefixtures("environment")
def test_the_endpoint_may_stand_in_the_environment(object_store: ObjectStore) -> None:
    Storage(object_store.uri("out")).write("a", b"content")
    assert Storage(f"s3://{BUCKET}/out").read("a") == b"content"


def test_a_job_goes_on_behind_a_uri_as_in_a_folder(object_store: ObjectStore, tmp_path: Path) -> None:
    uri = object_store.uri("jobs/1")
    job = make_job(tmp_path, ["a", "b", "c"], out=uri)
    results = Results(job)
    results.write_fitted("c", b"fitted")
    results.write_frame(done("a"))
    results.write_frame(failed_after_arm("b"))
    results.write_summary()

    again = Results(job)
    assert [item.id for item in again.unfinished] == ["b", "c"]
    assert again.is_fitted("c")
    again.write_frame(done("b"))
    again.write_summary()
    assert read_rd_table(uri).groupby("frame", observed=True).size().to_dict() == {"a": N_PAIRS, "b": N_PAIRS}
    assert read_rd_table(uri, frames=["b"]).frame.unique().tolist() == ["b"]
    assert read_status(uri).startswith(f"s3://{BUCKET}/jobs/1: 2 of 3 frames done, 0 failed; 1 fitted")
    assert write_report(uri) == f"s3://{BUCKET}/jobs/1/report.html"
    with pytest.raises(ResultsError, match=rf"^s3://{BUCKET}/jobs/1: holds .* another job \(fit.seed: 0 there"):
        Results(make_job(tmp_path, ["a"], out=uri, fit={"seed": 1}))


@QUICK
def test_one_driver_at_a_time(object_store: ObjectStore) -> None:
    place = Storage(object_store.uri("out"))
    first = Claim(place, lambda: None)
    with pytest.raises(ClaimError, match=f"^s3://{BUCKET}/out: another driver is at work there"):
        Claim(place, lambda: None)
    first.release()
    assert read_owner(place) is None
    Claim(place, lambda: None).release()


# --- when the server misbehaves


@QUICK
@pytest.mark.parametrize("status", ["503 Service Unavailable", "500 Internal Server Error"])
def test_errors_for_a_while_are_waited_out(object_store: ObjectStore, tmp_path: Path, status: str) -> None:
    job = make_job(tmp_path, ["a"], out=object_store.uri("out"))
    results = Results(job)
    with results.claimed():
        object_store.fail_for(4.0, status)
        results.write_frame(done("a"))
        results.write_summary()
    assert len(read_rd_table(job.config.out)) == N_PAIRS
    assert Results(job).n_unfinished == 0


@QUICK
@pytest.mark.parametrize("seconds", [1.0, pytest.param(4.0, marks=pytest.mark.slow)])
def test_slowness_is_waited_out(object_store: ObjectStore, tmp_path: Path, seconds: float) -> None:
    job = make_job(tmp_path, ["a"], out=object_store.uri("out"))
    results = Results(job)
    object_store.delay = seconds
    results.write_frame(done("a"))
    object_store.delay = 0.0
    assert len(read_rd_table(job.config.out)) == N_PAIRS


@pytest.mark.slow
def test_before_a_job_begins_nobody_waits_long_for_a_place_that_cannot_be_used(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    def error_of(out: str) -> str:
        start = time.monotonic()
        with pytest.raises(ResultsError) as raised:
            Results(make_job(tmp_path, ["a"], out=out))
        assert time.monotonic() - start < files.PATIENCE_SECONDS / 2, "less than a job that is under way waits"
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "NO_SUCH_BUCKET" in error_of(f"s3://nowhere/out?{object_store.options}")
    nobody = "endpoint_override=127.0.0.1%3A9&scheme=http"
    assert error_of(f"s3://{BUCKET}/out?{nobody}").startswith(f"s3://{BUCKET}/out/job.yaml: cannot be reached: ")
    with object_store.failing("403 Forbidden"):
        assert "ACCESS_DENIED" in error_of(object_store.uri("out"))
    with object_store.failing():
        assert error_of(object_store.uri("out")).startswith(f"s3://{BUCKET}/out/job.yaml: cannot be reached: ")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"endpoint_override=127.0.0.1%3A{silent.getsockname()[1]}&scheme=http"
        assert "Timeout was reached" in error_of(f"s3://{BUCKET}/out?{mute}")


def test_an_upload_that_breaks_off_leaves_no_part_of_a_file(
    object_store: ObjectStore,
) -> None:
    place = Storage(object_store.uri("out"))
    place.patience = 1.0
    place.write("a", b"whole")
    with object_store.failing(), pytest.raises(ResultsError, match="out/a: cannot be written"):
        place.write("a", bytes(12 << 20))
    assert place.read("a") == b"whole"


# --- inputs


def test_a_frame_that_is_not_there_fails_at_once(object_store: ObjectStore) -> None:
    start = time.monotonic()
    with pytest.raises(FrameFileError, match=f"^s3://{BUCKET}/no.png: the frame cannot be read: .*not exist"):
        read_frame(object_store.uri("no.png"))
    assert time.monotonic() - start < files.PATIENCE_SECONDS / 2


def test_a_frame_is_read_when_an_outage_is_over(object_store: ObjectStore) -> None:
    Storage(object_store.uri("in")).write("a.png", (FOLDER / "frame.png").read_bytes())
    object_store.fail_for(3.0)
    assert read_frame(object_store.uri("in/a.png")).img_size == (64, 96)


# --- a whole job


def run(config: Path, **content: Any) -> str:
    config.write_text(yaml.safe_dump(content | {"ray": {"replicas": 1}}))
    result = CliRunner().invoke(app, ["run", str(config)])
    assert result.exit_code == 0, result.stderr
    return result.stderr


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray", "environment")
def test_a_job_from_uris_to_a_uri_gives_what_files_give(object_store: ObjectStore, tmp_path: Path) -> None:
    place = Storage(f"s3://test:test@{BUCKET}/in?{object_store.options}")
    for name in ("a", "b"):
        place.write(f"{name}.png", (FOLDER / "frame.png").read_bytes())
    place.write("e.safetensors", (FOLDER / "encoder.safetensors").read_bytes())
    frames = [{"frame": place.location("*.png"), "encoder": place.location("e.safetensors")}]
    out = f"s3://test:test@{BUCKET}/out?{object_store.options}"
    run(tmp_path / "uri.yaml", frames=frames, out=out)

    local = {"frame": str(FOLDER / "frame.png"), "encoder": str(FOLDER / "encoder.safetensors")}
    run(tmp_path / "file.yaml", frames=[local], out="out")
    expected = read_rd_table(tmp_path / "out").drop(columns=["frame", "replica", "seconds"])
    for name in ("a", "b"):
        found = read_rd_table(out, frames=[name]).drop(columns=["frame", "replica", "seconds"])
        pd.testing.assert_frame_equal(found, expected)
    assert "every frame is done already" in run(tmp_path / "uri.yaml", frames=frames, out=out)

    place = Storage(out)
    written = [place.read(name) for name in ("job.yaml", "manifest.parquet", "frames.parquet", "report.html")]
    assert not any(b"test:test" in content or b"endpoint" in content for content in written), "no secret is kept"
    assert b"cannot be shown" not in written[-1], "the environment tells where the originals are"
    other = f"s3://test:other@{BUCKET}/out?{object_store.options}"
    assert "every frame is done already" in run(tmp_path / "uri.yaml", frames=frames, out=other)
