"""What a job writes in the background, and at its end."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from sweep import read_frames, read_rd_table
from sweep.config import Job
from sweep.driver import LocalPool, Observers, Progress
from sweep.job import _conclude, _Recorder, _sources, run_job, run_on
from sweep.results import Results, claim
from sweep.results.claim import CLAIM_FILE
from sweep.schedule import Call, CallDone, Event, FrameSwept, Measure, Open, ReplicaReady
from tests.sweep.ended import INFO, N_PAIRS, done, failed, make_job, swept
from tests.waiting import LONG_SECONDS
from workers import files as files_module
from workers import outage
from workers.answers import QuantizedAnswer
from workers.candidates import Counts, Measured, Measurement
from workers.errors import ClaimError, ConfigError, ResultsError
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
    job = make_job(tmp_path, [], frames=entries)
    sources = _sources(Results(job), LocalPool(Replica("cpu")), job)
    seconds = {source.id: source.loading_seconds for source in sources}
    assert seconds["local"] == 0
    assert seconds["one"] > PATIENCE_SECONDS
    assert seconds["two"] > 2 * PATIENCE_SECONDS


# --- while the storage of the results is away


class StoreError(Exception):
    """What a library behind fsspec raises: no ``OSError``."""


class Away:
    """Lets the store of ``memory://`` URIs fail while it is on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on, self.met, self.error = False, threading.Event(), StoreError("503 from the service")
        for name in ("_open", "info", "ls", "find", "rm_file", "_rm", "created", "modified", "exists", "pipe_file"):
            monkeypatch.setattr(MemoryFileSystem, name, self._failing(getattr(MemoryFileSystem, name)))

    def _failing(self, method: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.on:
                self.met.set()
                raise self.error
            return method(*arguments, **options)

        return call


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
    """A store that can be away, whose outages are told of at once, and soon tried to have ended."""
    monkeypatch.setattr(files_module, "_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(outage, "_FIRST_REPORT_SECONDS", 0.0)
    MemoryFileSystem.store.clear()
    yield Away(monkeypatch)
    MemoryFileSystem.store.clear()


class Replicas:
    """A pool whose replicas answer at once.

    Args:
        n_replicas: how many.
        on_call: called with the number of every call.
    """

    def __init__(self, n_replicas: int, on_call: Any = lambda _: None) -> None:
        self.n_replicas = n_replicas
        self._on_call = on_call
        self._events: list[Event | Progress] = [ReplicaReady(f"r{n}") for n in range(n_replicas)]
        self.begun: list[str] = []

    def submit(self, call: Call, source: Any, fit: Any) -> None:  # noqa: ARG002
        self._on_call(call.id)
        answer: object = QuantizedAnswer(b"quantized", (1.0,))
        if isinstance(call.work, Open):
            self.begun.append(call.frame)
            answer = INFO
        elif isinstance(call.work, Measure):
            answer = [
                Measurement(candidate, "ok", Measured(Counts(1, 2), 1, 2, 3, 4.0, 0.1, 1.0 + n, 0.1))
                for n, candidate in enumerate(call.work.request.candidates)
            ]
        self._events.append(CallDone(call.id, answer, 0.0))

    def wait(self, timeout: float) -> list[Event | Progress]:  # noqa: ARG002
        events, self._events = self._events, []
        assert events, "nobody waits for replicas that have nothing to do"
        return events

    def share(self, content: Any) -> Any:
        return lambda: content

    def close(self) -> None: ...

    def retire(self, replica: str, reason: str) -> None:
        raise AssertionError((replica, reason))


def make_large_job(folder: Path, n_frames: int) -> Job:
    entries = [{"frame": f"{n:03}.png", "encoder": "e.safetensors"} for n in range(n_frames)]
    return make_job(folder, [], frames=entries, out=f"memory://{folder.name}/out")


def run(job: Job, pool: Replicas) -> Results:
    results = Results(job)
    with results.claimed():
        run_on(pool, job, results, lambda _: nullcontext(Observers([])))
        results.write_summary()
    return results


def test_an_outage_of_any_length_loses_nothing_and_begins_no_more_frames_than_can_be_kept(
    tmp_path: Path, away: Away, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    job = make_large_job(tmp_path, 60)
    pool = Replicas(3)
    held = threading.Event()

    def on_sleep(_: float) -> None:
        """The driver has nothing left to do: it has kept what was under way, and waits."""
        held.set()
        away.on = False
        time.sleep(0.01)

    monkeypatch.setattr("sweep.driver.driver.time", SimpleNamespace(sleep=on_sleep))
    pool._on_call = lambda number: setattr(away, "on", away.on or (number == 20 and not held.is_set()))
    run(job, pool)
    assert held.is_set()
    assert len(pool.begun) == 60, "none twice"
    assert len(read_rd_table(job.config.out)) == 60 * N_PAIRS
    assert (read_frames(job.config.out).status == "done").all()
    warnings = [record.getMessage() for record in caplog.records if "cannot be reached" in record.getMessage()]
    assert 1 <= len(warnings) <= 3, "and not one for every file"
    assert warnings[0].endswith("trying again until it can: 503 from the service")
    assert "can be reached again" in caplog.text


def test_a_job_whose_folder_was_taken_over_during_an_outage_writes_nothing_more(
    tmp_path: Path, away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "EXPIRY_SECONDS", 0.3)
    monkeypatch.setattr(claim, "RENEW_SECONDS", 0.05)
    job = make_large_job(tmp_path, 40)
    before = dict[str, bytes]()

    def take_over(_: float) -> None:
        time.sleep(0.4)
        store = MemoryFileSystem.store
        if not before:
            owner = claim.Owner("other", "elsewhere", "", 1, time.time())
            (path,) = (path for path in store if path.endswith(CLAIM_FILE))
            store[path].seek(0)
            store[path].truncate()
            store[path].write(json.dumps(owner._asdict()).encode())
            before.update({path: file.getvalue() for path, file in store.items()})
        away.on = False

    monkeypatch.setattr("sweep.driver.driver.time", SimpleNamespace(sleep=take_over))
    pool = Replicas(2, lambda number: setattr(away, "on", away.on or (number == 20 and not before)))
    with pytest.raises(ClaimError):
        run(job, pool)
    assert before
    assert {path: file.getvalue() for path, file in MemoryFileSystem.store.items()} == before


def test_an_error_that_does_not_pass_ends_the_job_but_what_can_be_kept_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path, ["a", "b", "c"])
    results = Results(job)
    write_frame = results.write_frame

    def full(ended: Any) -> Any:
        if ended.frame == "a":
            raise ResultsError("out/a: cannot be written: No space left on device")
        time.sleep(0.1)
        return write_frame(ended)

    monkeypatch.setattr(results, "write_frame", full)
    recorder = _Recorder(results, [])
    for name in ("a", "b", "c"):
        with suppress(ResultsError):
            recorder.ended(done(name))
    with suppress(ResultsError):
        recorder.close()
    assert [item.id for item in Results(job).unfinished] == ["a"]


def test_an_interrupt_does_not_wait_for_the_end_of_an_outage(tmp_path: Path, away: Away) -> None:
    job = make_large_job(tmp_path, 3)

    def interrupt(number: int) -> None:
        away.on = away.on or number == 8
        if number > 8 and away.met.wait(30.0):
            raise KeyboardInterrupt

    results = Results(job)
    with pytest.raises(KeyboardInterrupt), results.claimed():
        run_on(Replicas(1, interrupt), job, results, lambda _: nullcontext(Observers([])))


# --- whether anything was started


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> Replicas:
    """Replicas in place of those on Ray."""
    pool = Replicas(1)
    monkeypatch.setattr("sweep.job.connect", lambda *_, **__: nullcontext())
    monkeypatch.setattr("sweep.job.RayPool", lambda *_, **__: pool)
    return pool


def test_an_error_says_whether_work_was_started(tmp_path: Path, away: Away, no_ray: Replicas) -> None:
    job = make_large_job(tmp_path, 2)
    results = Results(job)
    away.on, away.error = True, PermissionError(13, "read-only")
    with pytest.raises(ResultsError, match="read-only") as raised:
        run_job(job, results, lambda _: nullcontext(Observers([])))
    assert not raised.value.started
    away.on = False
    no_ray._on_call = lambda number: setattr(away, "on", number >= 4)
    with pytest.raises(ResultsError, match="read-only") as raised:
        run_job(job, results, lambda _: nullcontext(Observers([])))
    assert raised.value.started


@pytest.mark.usefixtures("no_ray")
def test_a_kernel_that_does_not_exist_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QSWEEP_KERNEL", "avx")
    results = Results(make_job(tmp_path, ["a"]))
    with pytest.raises(ConfigError, match="found 'avx'"):
        run_job(make_job(tmp_path, ["a"]), results, lambda _: nullcontext(Observers([])))
    assert not results.started


@pytest.mark.usefixtures("no_ray")
def test_a_job_that_another_driver_works_on_was_not_started(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    with Results(job).claimed(), pytest.raises(ClaimError) as raised:
        run_job(job, results, lambda _: nullcontext(Observers([])))
    assert not raised.value.started
