"""How far a job is, from its results alone."""

import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweep.cli import app
from sweep.config import Job
from sweep.results import Results, read_status
from sweep.results.rows import rd_path
from sweep.schedule import FrameEnded
from tests.sweep.ended import done, failed, failed_after_arm, make_job, swept
from workers.errors import ResultsError


def test_a_job_that_has_just_begun(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"])
    results = Results(job)
    assert read_status(job.config.out).splitlines() == [
        f"{job.config.out}: 0 of 2 frames done, 0 failed",
        "not running; the same command resumes it",
    ]
    with results.claimed():
        assert read_status(job.config.out).splitlines()[1].startswith(f"running: process {os.getpid()} on ")


def test_frames_that_are_done_or_failed_or_fitted_are_counted(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b", "c", "d"])
    results = Results(job)
    results.write_fitted("d", b"fitted")
    for ended in (done("a"), failed("b"), failed_after_arm("c")):
        results.write_frame(ended)
    assert (
        read_status(job.config.out).splitlines()[0] == f"{job.config.out}: 1 of 4 frames done, 2 failed; 1 fitted"
    )
    results.write_summary()
    assert read_status(job.config.out).splitlines()[2:] == [
        "b failed: b.png: empty",
        "c failed: RuntimeError: no more",
    ]


def test_frames_that_wait_for_their_bitstreams_are_counted(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"], bitstream=True)
    results = Results(job)
    results.write_swept(swept("a"))
    assert read_status(job.config.out).splitlines()[0] == f"{job.config.out}: 0 of 2 frames done, 0 failed; 1 swept"


def test_the_time_left_is_told_from_when_the_last_frames_were_written(tmp_path: Path) -> None:
    job = make_job(tmp_path, [f"f{n}" for n in range(10)])
    results = Results(job)
    now = time.time()
    with results.claimed():
        for n in range(4):
            results.write_frame(done(f"f{n}"))
            written = now - 100 + 20 * n
            os.utime(tmp_path / "out" / "rd_table" / f"frame=f{n}" / "part-0.parquet", (written, written))
        assert read_status(job.config.out).splitlines()[1].endswith("; about 0:02:00 left")


def write_at(job: Job, results: Results, ended: FrameEnded, seconds: float) -> None:
    results.write_frame(ended)
    os.utime(Path(job.config.out) / rd_path(ended.frame, ended.status), (seconds, seconds))


def test_frames_that_failed_tell_nothing_of_the_time_left(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b", "c"])
    results = Results(job)
    with results.claimed():
        for n, frame in enumerate("ab"):
            write_at(job, results, failed(frame), time.time() + 0.01 * n)
        assert " left" not in read_status(job.config.out).splitlines()[1]


def test_while_frames_are_fitted_the_time_left_is_that_of_frames_that_were_fitted(tmp_path: Path) -> None:
    given = [{"frame": f"{n}.png", "encoder": f"{n}.safetensors"} for n in range(3)]
    job = make_job(tmp_path, [], frames=[*given, *(f"f{n}.png" for n in range(4))])
    results = Results(job)
    now = time.time()
    with results.claimed():
        for n in range(2):
            write_at(job, results, done(str(n)), now - 1000 + n)
        assert " left" not in read_status(job.config.out).splitlines()[1], "no pace of fits is known"
        for n in range(2):
            write_at(job, results, done(f"f{n}"), now - 900 + 100 * n)
        assert read_status(job.config.out).splitlines()[1].endswith("; about 0:03:20 left")
        for n in range(2, 4):
            write_at(job, results, done(f"f{n}"), now - 900 + 100 * n)
        write_at(job, results, failed("2"), now)
        assert " left" not in read_status(job.config.out).splitlines()[1]


def test_of_a_driver_that_was_killed_the_last_sign_of_life_is_told(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    Results(job)
    ago = time.time() - 3600
    claim = f'{{"id": "1", "host": "node-7", "boot": "", "pid": 12, "renewed": {ago}}}'
    (tmp_path / "out" / ".claim").write_text(claim)
    (line,) = read_status(job.config.out).splitlines()[1:]
    assert line.startswith("not running (process 12 on node-7: no sign of life for 1:0")


def test_a_job_that_is_done_says_so_in_one_line(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    results.write_frame(done("a"))
    results.write_summary()
    assert read_status(job.config.out) == f"{job.config.out}: 1 of 1 frames done, 0 failed"


def test_a_failure_of_the_time_before_is_not_told_of_a_frame_that_is_done(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a", "b"])
    results = Results(job)
    results.write_frame(failed("a"))
    results.write_frame(failed("b"))
    results.write_summary()
    results.write_frame(done("a"))
    assert "a failed" not in read_status(job.config.out)
    assert "b failed: b.png: empty" in read_status(job.config.out)


def test_a_folder_without_a_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="there are no results of a job"):
        read_status(str(tmp_path))
    result = CliRunner().invoke(app, ["status", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert "there are no results of a job" in result.stderr
