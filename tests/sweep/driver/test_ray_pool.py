"""Replicas as Ray actors: the work is shared out, and faults change nothing of what comes of it."""

import itertools
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ObjectLostError

from sweep.config import FitConfig, RayConfig, make_grid, search_factory
from sweep.config.fit_config import FitIterations
from sweep.driver import Driver, LocalPool, Progress, RayPool, connect, ray_pool
from sweep.driver.actor import unpack
from sweep.driver.cluster import has_process
from sweep.schedule import (
    Call,
    CallDone,
    CallFailed,
    Event,
    Fit,
    FrameEnded,
    FrameSwept,
    Measure,
    Open,
    ReplicaLost,
    RunSearch,
    Work,
)
from tests.cases import ARM, CASES
from tests.making import request
from workers.answers import QuantizedAnswer
from workers.codec import Frame, read_frame, read_frame_encoder
from workers.errors import ClusterError, FrameFileError, ReplicaError
from workers.fit import FitProgress
from workers.replica import Replica
from workers.source import FrameInfo, FrameSource

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

GRID = make_grid(
    {
        "arm": {"weight": [0.0625, 0.125, 0.25], "bias": [0.0625, 0.125, 0.25]},
        "synthesis": {"weight": [0.00390625, 0.0078125], "bias": [0.00390625, 0.0078125]},
        "upsampling": {"weight": [0.0078125, 0.015625], "bias": [1]},
    }
)
N_PAIRS = 9 + 4 + 2
SEARCH_OF = search_factory("full", GRID)
FOLDER = CASES / "astronaut_64x96_lop"


class Watcher:
    """An observer that keeps everything, and may do something at a call."""

    def __init__(self, at_call: Callable[[int, Call], None] = lambda _, __: None) -> None:
        self.calls: list[Call] = []
        self.failures: list[CallFailed] = []
        self.frames: dict[str, FrameEnded] = {}
        self.progress: list[FitProgress] = []
        self.lost_calls: list[Call] = []
        self._at_call = at_call

    def called(self, call: Call) -> None:
        self.calls.append(call)
        self._at_call(len(self.calls), call)

    def answered(self, _: Call, event: CallDone | CallFailed) -> None:
        if isinstance(event, CallFailed):
            self.failures.append(event)

    def lost(self, call: Call, _: str) -> None:
        self.lost_calls.append(call)

    def fitting(self, _: str, progress: FitProgress) -> None:
        self.progress.append(progress)

    def fitted(self, frame: str, checkpoint: bytes) -> None: ...

    def swept(self, frame: FrameSwept) -> None: ...

    def waited(self) -> None: ...

    def ended(self, frame: FrameEnded) -> None:
        self.frames[frame.frame] = frame


def source(name: str, reader: Callable[[], Frame] | None = None) -> FrameSource:
    read = reader or partial(read_frame, FOLDER / "frame.png")
    return FrameSource(name, read, partial(read_frame_encoder, FOLDER / "encoder.safetensors"))


@pytest.fixture
def pool() -> Iterator[RayPool]:
    pool = RayPool(RayConfig(replicas=2))
    # Both take part from the start, however short the job and slow the machine.
    ray.get([actor.where.remote() for actor in pool._actors.values()])
    yield pool
    pool.close()


def test_a_search_that_reports_its_progress_is_refused_to_a_client_of_ray(
    pool: RayPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "is_client", lambda: True)
    search = SEARCH_OF(FrameInfo(64, 96, 1e-3, "rgb", 8))
    with pytest.raises(ClusterError, match="receives no progress of fits, bitstreams and nested searches; name"):
        pool.submit(Call(0, "r0", "a", RunSearch(search)), source("a"), FitConfig())


def run(pool: RayPool, sources: list[FrameSource], watcher: Watcher, fit: FitConfig | None = None) -> None:
    Driver(pool, sources, SEARCH_OF, fit or FitConfig(), watcher, pairs_per_call=1).run()


def facts(frame: FrameEnded) -> list[object]:
    """All of a frame's rows but who measured them, and for how long."""
    return [row._replace(seconds=0.0) for row, _ in frame.rows]


def test_one_pair_per_call_is_one_ray_call_each_over_both_replicas(pool: RayPool) -> None:
    watcher = Watcher()
    run(pool, [source("a")], watcher)
    measured = [call for call in watcher.calls if isinstance(call.work, Measure) and not call.work.request.plain]
    assert len(measured) == N_PAIRS
    assert {call.replica for call in measured} == {"r0", "r1"}
    assert len(watcher.frames["a"].rows) == N_PAIRS


def test_a_killed_replica_is_replaced_and_no_row_is_missing_or_different(pool: RayPool) -> None:
    undisturbed = Watcher()
    local = LocalPool(Replica("cpu"))
    Driver(local, map(source, "ab"), SEARCH_OF, FitConfig(), undisturbed, pairs_per_call=1).run()

    def kill(n: int, call: Call) -> None:
        if n in (5, 19):
            ray.kill(pool._actors[call.replica])

    watcher = Watcher(kill)
    run(pool, [source("a"), source("b")], watcher)
    assert {call.replica for call in watcher.calls} > {"r0", "r1"}, "another replica took over"
    for name in ("a", "b"):
        assert watcher.frames[name].status == "done"
        assert facts(watcher.frames[name]) == facts(undisturbed.frames[name])
        assert watcher.frames[name].choices == undisturbed.frames[name].choices


def test_an_error_of_one_replica_is_tried_again(
    pool: RayPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "tried"
    path = FOLDER / "frame.png"

    def flaky() -> Frame:
        if not marker.exists():
            marker.touch()
            raise MemoryError("no room just now")
        return read_frame(path)

    watcher = Watcher()
    run(pool, [source("a", flaky)], watcher)
    assert watcher.frames["a"].status == "done"
    assert len(watcher.frames["a"].rows) == N_PAIRS
    assert [str(failure.error) for failure in watcher.failures] == ["no room just now"]
    assert "frame a on replica" in caplog.text
    assert ": MemoryError: no room just now\n" in caplog.text
    assert "in flaky" in caplog.text  # where, as Ray tells it, for the log file


def test_a_replica_on_which_everything_fails_is_replaced_and_every_frame_is_done(
    pool: RayPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sick = tmp_path / "sick"
    path = FOLDER / "frame.png"

    def read() -> Frame:
        with suppress(FileExistsError), sick.open("x") as file:
            file.write(str(os.getpid()))
        if sick.read_text() == str(os.getpid()):
            raise MemoryError("the memory of this machine is broken")
        return read_frame(path)

    watcher = Watcher()
    run(pool, [source(f"f{n}", read) for n in range(8)], watcher)
    assert [frame.status for frame in watcher.frames.values()] == ["done"] * 8
    assert len(watcher.failures) == 3
    assert {call.replica for call in watcher.calls} <= {"r0", "r1", "r2"}
    assert "is retired: 3 calls in a row failed on it, the last one: the memory of this" in caplog.text


def test_an_answer_that_is_lost_on_its_way_is_asked_for_again(
    pool: RayPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, lost = ray.get, []

    def get_but_once(reply: Any) -> Any:
        answer = get(reply)
        if isinstance(answer, bytes) and isinstance(unpack(answer), QuantizedAnswer) and not lost:
            lost.append(reply)
            raise ObjectLostError(reply.hex(), None, "")
        return answer

    monkeypatch.setattr(ray_pool.ray, "get", get_but_once)
    watcher = Watcher()
    run(pool, [source("a")], watcher)
    assert lost
    assert watcher.frames["a"].status == "done"
    assert [type(failure.error) for failure in watcher.failures] == [ObjectLostError]


def test_a_frame_that_kills_every_replica_is_given_up_and_the_others_are_done(pool: RayPool) -> None:
    watcher = Watcher()
    run(pool, [source("deadly", lambda: os._exit(1)), source("b"), source("c")], watcher)
    assert isinstance(watcher.frames["deadly"].error, ReplicaError)
    assert "3 lost calls" in str(watcher.frames["deadly"].error)
    assert [watcher.frames[name].status for name in ("b", "c")] == ["done", "done"]


def test_an_error_in_the_input_crosses_ray_with_its_type_and_is_final(pool: RayPool, tmp_path: Path) -> None:
    watcher = Watcher()
    run(pool, [source("bad", partial(read_frame, tmp_path / "missing.png")), source("b")], watcher)
    error = watcher.frames["bad"].error
    assert isinstance(error, FrameFileError)
    assert "missing.png" in str(error)
    assert [failure.final for failure in watcher.failures] == [True]
    assert watcher.frames["b"].status == "done"


def test_a_fit_streams_its_progress_and_its_encoder_is_measured_on_both_replicas(pool: RayPool) -> None:
    fit = FitConfig(arch="vlop", recipe="example", iterations=FitIterations(warmup=2, phase_1=4, phase_2=2))
    watcher = Watcher()
    unfitted = FrameSource("a", partial(read_frame, FOLDER / "frame.png"), None, lmbda=0.001)
    run(pool, [unfitted], watcher, fit)
    assert watcher.progress[-1].iteration == watcher.progress[-1].n_iterations == 2 * 2 + 4 + 2
    assert watcher.frames["a"].status == "done"
    assert {call.replica for call in watcher.calls if isinstance(call.work, Measure)} == {"r0", "r1"}


def test_replicas_that_die_one_after_the_other_end_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stillborn:
        def __init__(self, *_: object) -> None:
            os._exit(1)

        def where(self) -> tuple[str, str, str]:
            return "never", "nowhere", ""

    monkeypatch.setattr(ray_pool, "ReplicaActor", Stillborn)
    pool = RayPool(RayConfig(replicas=1))
    try:
        with pytest.raises(ReplicaError, match=r"died in a row .*Worker exit type"):
            run(pool, [source("a")], Watcher())
    finally:
        pool.close()


def test_why_replicas_cannot_start_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __init__(self, *_: object) -> None:
            raise ImportError("no kernel is there")

        def where(self) -> tuple[str, str, str]:
            return "never", "nowhere", ""

    monkeypatch.setattr(ray_pool, "ReplicaActor", Broken)
    pool = RayPool(RayConfig(replicas=1))
    try:
        with pytest.raises(ReplicaError, match=r"the last one: ImportError: no kernel is there$"):
            run(pool, [source("a")], Watcher())
    finally:
        pool.close()
    record = next(record for record in caplog.records if "was lost" in record.message)
    assert record.message == "replica r0 was lost: ImportError: no kernel is there"
    assert record.exc_info is not None
    assert "ray::Broken.__init__" in str(record.exc_info[1])  # the whole text is for the log file


def test_connecting_where_a_ray_is_connected_already_leaves_it_running() -> None:
    with connect(RayConfig()):
        assert ray.is_initialized()
    assert ray.is_initialized()


# --- replicas that are slow, and those that hang


class Time:
    """The clock that a pool judges its replicas by, in the hands of a test."""

    def __init__(self, pool: RayPool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = pool._watched()
        self._pool = pool
        monkeypatch.setattr(pool, "_watched", lambda: self.now)
        monkeypatch.setattr(ray_pool, "_LOOK_SECONDS", 0.0)  # every wait looks for replicas that hang

    def until_an_answer(self) -> list[Event | Progress]:
        """Wait while no time passes."""
        events: list[Event | Progress] = []
        while not any(isinstance(event, CallDone | CallFailed) for event in events):
            events += self._pool.wait(1.0)
        return events

    def passes(self, seconds: float) -> list[Event | Progress]:
        """Time passes while nothing happens but what this gives."""
        self.now += seconds
        return self._pool.wait(0.0)


def ask(pool: RayPool, replica: str, frame: FrameSource, work: Work, pixels: int = 0) -> Call:
    call = Call(next(NUMBERS), replica, frame.id, work, pixels)
    pool.submit(call, frame, FIT)
    return call


def kept_closed(path: Path) -> Callable[[], Frame]:
    """A reader whose frame is only there once a file is."""

    def read() -> Frame:
        while not path.exists():
            time.sleep(0.01)
        return read_frame(FOLDER / "frame.png")

    return read


NUMBERS = itertools.count()
FIT = FitConfig(arch="vlop", recipe="example", iterations=FitIterations(warmup=1, phase_1=2, phase_2=1))
UNFITTED = FrameSource("small", partial(read_frame, FOLDER / "frame.png"), None, lmbda=0.001)


@pytest.fixture
def started(pool: RayPool) -> RayPool:
    ready: list[Event | Progress] = []
    while len(ready) < 2:
        ready += pool.wait(1.0)
    return pool


def test_a_slow_fit_lives_although_another_frames_was_quick(
    started: RayPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Time(started, monkeypatch)
    for _ in range(2):
        ask(started, "r0", UNFITTED, Fit())
        assert any(isinstance(event, Progress) for event in clock.until_an_answer())
    large = FrameSource("large", kept_closed(tmp_path / "opened"), None, lmbda=0.001)
    ask(started, "r0", large, Fit())
    assert clock.passes(550) == []
    (tmp_path / "opened").touch()
    *progress, done = clock.until_an_answer()
    assert {type(event) for event in progress} == {Progress}
    assert isinstance(done, CallDone)


def test_a_slow_store_is_no_reason_to_give_a_replica_up(
    started: RayPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Time(started, monkeypatch)
    away = replace(source("a", kept_closed(tmp_path / "back")), loading_seconds=360)
    for work in (Open(), Measure(request(ARM, GRID["arm"][:1]))):
        ask(started, "r0", source("b"), work, 64 * 96)
        clock.until_an_answer()
    ask(started, "r0", away, Measure(request(ARM, GRID["arm"][:1])), 64 * 96)
    assert clock.passes(600 + 350) == []
    (tmp_path / "back").touch()
    (done,) = clock.until_an_answer()
    assert isinstance(done, CallDone)


def test_a_replica_that_hangs_is_given_up_soon_and_the_next_has_more_time(
    started: RayPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time(started, monkeypatch)
    frame, work = source("a"), Measure(request(ARM, GRID["arm"]))
    for replica in ("r0", "r1"):
        for each in (Open(), work):
            ask(started, replica, frame, each, 64 * 96)
            clock.until_an_answer()
    pids = {name: process_of(actor) for name, actor in started._actors.items()}
    granted = []
    for replica in ("r0", "r1"):
        os.kill(pids[replica], signal.SIGSTOP)
        ask(started, replica, frame, work, 64 * 96)
        lost: list[str] = []
        start = clock.now
        while not lost:
            lost = [event.replica for event in clock.passes(5) if isinstance(event, ReplicaLost)]
        assert lost == [replica]
        granted.append(clock.now - start - 5)
    assert granted == [60, 4 * 60]


class NeverReady:
    def __init__(self, *_: object) -> None:
        time.sleep(3600)

    def where(self) -> None: ...


def test_a_replica_that_hangs_while_it_starts_is_started_again_and_the_job_ends_if_that_hangs_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_pool, "ReplicaActor", NeverReady)
    pool = RayPool(RayConfig(replicas=1))
    clock = Time(pool, monkeypatch)

    def start_and_hang() -> list[Event | Progress]:
        (actor,) = pool._actors.values()
        while not has_process(actor):
            time.sleep(0.01)
        assert clock.passes(61) == [], "the process was seen"
        assert clock.passes(599) == []
        return clock.passes(61)

    why = "it hangs while it starts: its process is not ready within 600 s"
    try:
        assert start_and_hang() == [ReplicaLost("r0", why)]
        with pytest.raises(ReplicaError, match=f"^2 replicas in a row could not start, the last one: {why}$"):
            start_and_hang()
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (True, "1 of 1 replicas are starting: they have room, and are not ready yet"),
        (False, "1 of 1 replicas have not started yet: each needs "),
    ],
)
def test_replicas_that_have_room_are_told_from_those_that_wait_for_it(
    seen: bool, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_pool, "has_process", lambda _: seen)
    monkeypatch.setattr(ray_pool, "_FIRST_PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(ray_pool, "ReplicaActor", NeverReady)
    caplog.set_level(logging.INFO, "sweep")
    pool = RayPool(RayConfig(replicas=1))
    try:
        Time(pool, monkeypatch).passes(1)
    finally:
        pool.close()
    (message,) = [record.message for record in caplog.records if "1 of 1" in record.message]
    assert message.startswith(said)


def test_a_replica_that_waits_for_room_is_given_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "has_process", lambda _: False)
    monkeypatch.setattr(ray_pool, "ReplicaActor", NeverReady)
    pool = RayPool(RayConfig(replicas=1))
    try:
        clock = Time(pool, monkeypatch)
        assert [clock.passes(1000) for _ in range(5)] == [[]] * 5
    finally:
        pool.close()


def process_of(actor: Any) -> int:
    pid: int = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    return pid
