"""Where the time of a job went: told from its calls, and kept over its runs."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.results import Results, Storage, read_timeline, stages_of, write_table
from sweep.results.layout import REPLICAS_FILE, TIMELINE_FILE
from sweep.results.timeline import N_SPANS, Timeline
from sweep.schedule import Call, CallDone, CallFailed, Encode, Fit, Measure, Open
from tests.cases import ARM, SYNTHESIS
from tests.making import request
from tests.sweep.ended import make_job
from workers.candidates import QStepPair
from workers.errors import FrameFileError, ResultsError

PAIRS = (QStepPair(1.0, 1.0),)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def timeline(clock: Clock, n_replicas: int = 2) -> Timeline:
    return Timeline(0, lambda: n_replicas, clock)


def call(number: int, work: object, replica: str = "r0") -> Call:
    return Call(number, replica, "frame", work)  # type: ignore[arg-type]


def test_seconds_go_to_the_stage_and_the_span_they_were_spent_in() -> None:
    clock = Clock()
    followed = timeline(clock)
    measure = call(0, Measure(request(ARM, PAIRS)))
    followed.called(measure)
    clock.now += 1.5
    followed.answered(measure, CallDone(0, [], 1.5))
    followed.waited()
    spans, replicas = (table.to_pylist() for table in followed.tables())
    assert [span["arm_seconds"] for span in spans] == [1.0, 0.5]
    assert [span["available_seconds"] for span in spans] == [2.0, 1.0], "of both replicas"
    assert (spans[1]["time"] - spans[0]["time"]).total_seconds() == spans[0]["seconds"] == 1.0
    assert replicas == [{"run": 0, "replica": "r0", "seconds": 1.5, "busy_seconds": 1.5, "calls": 1, "lost": 0}]


@pytest.mark.parametrize(
    ("work", "stage"),
    [
        (Fit(), "fit"),
        (Open(), "open"),
        (Measure(request(SYNTHESIS, PAIRS)), "synthesis"),
        (Measure(request(ARM, PAIRS, plain=True)), "near_ties"),
        (Encode((), "qsw"), "encode"),
    ],
)
def test_every_kind_of_work_has_its_stage(work: object, stage: str) -> None:
    clock = Clock()
    followed = timeline(clock)
    followed.called(call(0, work))
    clock.now += 0.5
    followed.answered(call(0, work), CallDone(0, None, 0.5))
    followed.waited()
    spans, _ = followed.tables()
    (span,) = spans.to_pylist()
    assert {name for name in stages_of(spans.column_names) if span[f"{name}_seconds"]} == {stage}


def test_what_came_to_nothing_is_told_from_what_failed_for_good() -> None:
    clock = Clock()
    followed = timeline(clock)
    for number, end in enumerate(("lost", "failed", "final")):
        followed.called(call(number, Open()))
        clock.now += 0.25
        if end == "lost":
            followed.lost(call(number, Open()), "gone")
        else:
            followed.answered(call(number, Open()), CallFailed(number, FrameFileError("x"), final=end == "final"))
    followed.waited()
    spans, replicas = followed.tables()
    assert spans["lost_seconds"].to_pylist() == [0.5]
    assert spans["open_seconds"].to_pylist() == [0.25]
    assert replicas["lost"].to_pylist() == [2]


def test_calls_under_way_are_counted_and_no_second_twice() -> None:
    clock = Clock()
    followed = timeline(clock)
    followed.called(call(0, Fit()))
    clock.now += 0.5
    followed.waited()
    clock.now += 0.125  # as when the tables are written after the last replica has gone
    for _ in range(2):
        (span,), (of_replica,) = (table.to_pylist() for table in followed.tables())
        assert span["fit_seconds"] == of_replica["busy_seconds"] == span["seconds"] == 0.5
        assert span["available_seconds"] == 2 * 0.5, "nobody is at work when nobody is there"
    clock.now += 0.125
    followed.answered(call(0, Fit()), CallDone(0, b"", 0.75))
    followed.waited()
    assert followed.tables()[0]["fit_seconds"].to_pylist() == [0.75]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_however_long_a_job_is_its_timeline_is_short_and_complete(durations: list[float]) -> None:
    clock = Clock()
    followed = timeline(clock)
    for number, seconds in enumerate(durations):
        followed.called(call(number, Open()))
        clock.now += seconds
        followed.answered(call(number, Open()), CallDone(number, None, seconds))
        followed.waited()
    spans, replicas = followed.tables()
    assert spans.num_rows <= N_SPANS
    assert sum(spans["open_seconds"].to_pylist()) == pytest.approx(sum(durations), abs=1e-6)
    assert sum(spans["available_seconds"].to_pylist()) == pytest.approx(2 * sum(durations), abs=1e-6)
    assert sum(replicas["busy_seconds"].to_pylist()) == pytest.approx(sum(durations), abs=1e-6)


def test_a_job_that_went_on_keeps_its_earlier_runs(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    for _ in range(2):
        results = Results(job)
        followed = results.begin_timeline(lambda: 1)
        followed.called(call(0, Open()))
        followed.answered(call(0, Open()), CallDone(0, None, 0.1))
        results.write_summary()
        results.write_summary()  # again: nothing is there twice
    spans, replicas = read_timeline(Storage(job.config.out))
    assert replicas["run"].to_pylist() == [0, 1]
    assert set(spans["run"].to_pylist()) == {0, 1}


def one_run(results: Results) -> None:
    """A run with one call."""
    followed = results.begin_timeline(lambda: 1)
    followed.called(call(0, Open()))
    followed.answered(call(0, Open()), CallDone(0, None, 0.1))
    results.write_summary()


@pytest.mark.parametrize("damage", ["empty", "truncated", "of another kind", "of other types"])
@pytest.mark.parametrize("name", [TIMELINE_FILE, REPLICAS_FILE])
def test_a_timeline_that_is_damaged_is_kept_beside_the_new_one(tmp_path: Path, name: str, damage: str) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    one_run(results)
    path = Path(job.config.out) / name
    if damage == "of another kind":
        write_table(results.storage, name, results.frames())
    elif damage == "of other types":
        write_table(results.storage, name, pa.table({"run": ["first"]}))
    else:
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-10])
    before = path.read_bytes()
    assert read_timeline(Storage(job.config.out))[name == REPLICAS_FILE].num_rows == 0, "others only leave it out"
    assert path.read_bytes() == before

    again = Results(job)
    one_run(again)
    assert (path.parent / "damaged" / name).read_bytes() == before
    spans, replicas = read_timeline(again.storage)
    other, runs = (replicas, spans) if name == TIMELINE_FILE else (spans, replicas)
    assert (set(other["run"].to_pylist()), set(runs["run"].to_pylist())) == ({0, 1}, {1}), "one number everywhere"


def test_a_timeline_of_another_version_is_kept_with_all_its_columns(tmp_path: Path) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    other = pa.table({"run": [4], "seconds": [1.0], "fit_seconds": [0.5], "polish_seconds": [0.25]})
    write_table(results.storage, TIMELINE_FILE, other)
    one_run(results)
    spans, _ = read_timeline(results.storage)
    assert set(spans["run"].to_pylist()) == {4, 5}
    spans = spans.take([0, 1])
    assert spans["fit_seconds"].to_pylist() == [0.5, 0.0]
    assert spans["arm_seconds"].to_pylist() == [None, 0.0]
    assert spans["polish_seconds"].to_pylist() == [0.25, None]


def test_a_timeline_that_cannot_be_read_for_a_moment_is_not_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path, ["a"])
    results = Results(job)
    one_run(results)
    before = (Path(job.config.out) / TIMELINE_FILE).read_bytes()

    def away(*_: object) -> None:
        raise OSError(5, "Input/output error")

    again = Results(job)
    monkeypatch.setattr(again.storage, "retry", away)
    with pytest.raises(ResultsError, match="Input/output error"):
        again.begin_timeline(lambda: 1)
    assert (Path(job.config.out) / TIMELINE_FILE).read_bytes() == before
