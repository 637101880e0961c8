"""What a job writes in the background, and at its end."""

import threading
from pathlib import Path
from typing import Any

import pytest

from sweep.config import Job
from sweep.driver import LocalPool
from sweep.job import _conclude, _Recorder, _sources
from sweep.results import Results
from sweep.schedule import FrameSwept
from tests.sweep.ended import done, failed, make_job, swept
from tests.waiting import LONG_SECONDS
from workers.errors import ResultsError
from workers.files import PATIENCE_SECONDS
from workers.replica import Replica


def files(job: Job) -> set[str]:
    out = Path(job.config.out)
    return {str(path.relative_to(out)) for path in out.rglob("*.*") if path.is_file()}


@pytest.mark.parametrize("end", [done, failed])
def test_what_was_kept_of_a_frame_on_its_way_is_gone_when_it_has_ended_however_slowly_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    job = make_job(tmp_path, ["a"], bitstream=True)
    results = Results(job)
    write_swept = results.write_swept

    has_ended = threading.Event()

    def slowly(frame: FrameSwept) -> None:
        assert has_ended.wait(LONG_SECONDS)
        write_swept(frame)

    monkeypatch.setattr(results, "write_swept", slowly)
    recorder = _Recorder(results, [])
    recorder.swept(swept("a"))
    recorder.ended(end("a"))
    has_ended.set()
    recorder.close()
    name = "part-0" if end is done else "failed-0"
    assert {path for path in files(job) if path.startswith("rd_table")} == {f"rd_table/frame=a/{name}.parquet"}


def test_a_folder_that_another_driver_has_taken_over_is_left_to_it(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    before = files(job)
    results.taken_over = True
    _conclude(results, job.config.out, has_time=True)
    assert files(job) == before


def test_an_interrupt_is_none_the_less_one_where_the_tables_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> None:
        raise ResultsError("out/frames.parquet: cannot be written: no room")

    job = make_job(tmp_path, ["a"])
    results = Results(job)
    monkeypatch.setattr(results, "write_summary", full)
    _conclude(results, job.config.out, has_time=False)
    assert "cannot be written: no room" in caplog.text
    with pytest.raises(ResultsError, match="no room"):
        _conclude(results, job.config.out, has_time=True)


def test_frames_behind_uris_may_take_as_long_to_load_as_their_store_is_waited_for(tmp_path: Path) -> None:
    entries = [
        "local.png",
        {"frame": "s3://bucket/one.png"},
        {"frame": "s3://bucket/two.png", "encoder": "s3://bucket/two.safetensors"},
    ]
    results = Results(make_job(tmp_path, [], frames=entries))
    seconds = {source.id: source.loading_seconds for source in _sources(results, LocalPool(Replica("cpu")))}
    assert seconds["local"] == 0
    assert seconds["one"] > PATIENCE_SECONDS
    assert seconds["two"] > 2 * PATIENCE_SECONDS
