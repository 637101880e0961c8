"""How far a job is: counted from what happens, and shown."""

import io
import logging
from collections.abc import Iterator

import pytest
from rich.console import Console

from sweep.driver import Lines, Tally, show
from sweep.driver.display import Bar
from sweep.logs import logging_to
from sweep.schedule import LOCAL_REPLICA, Call, CallDone, CallFailed, Fit, FrameEnded, Measure, Open
from tests.cases import ARM
from tests.making import request
from tests.sweep.ended import done, failed
from workers.candidates import QStepPair
from workers.fit import FitProgress

PAIRS = tuple(QStepPair(1.0, 2.0**-n) for n in range(10))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def measure(tally: Tally, frame: str, n_pairs: int, *, seconds: float = 1.0, plain: bool = False) -> None:
    call = Call(0, "r0", frame, Measure(request(ARM, PAIRS[:n_pairs], plain=plain)))
    tally.called(call)
    tally.answered(call, CallDone(0, [], seconds))


def fit_progress(iteration: int) -> FitProgress:
    return FitProgress("phase 1", iteration, 100, 0.01, 30.0, 0.5)


def test_pairs_and_frames_are_counted() -> None:
    tally = Tally(n_frames=3, n_pairs=10)
    measure(tally, "a", 4)
    measure(tally, "b", 3)
    measure(tally, "a", 6)
    assert (tally.pairs, tally.n_pairs, tally.done) == (13, 30, 0)
    tally.ended(done("a"))
    assert (tally.pairs, tally.done, tally.failed) == (13, 1, 0)


def test_near_ties_that_are_measured_again_count_once() -> None:
    tally = Tally(n_frames=1, n_pairs=10)
    measure(tally, "a", 5)
    measure(tally, "a", 2, plain=True)
    assert tally.pairs == 5


def test_calls_that_fail_and_calls_of_another_kind_count_nothing() -> None:
    tally = Tally(n_frames=1, n_pairs=10)
    work = Measure(request(ARM, PAIRS))
    tally.answered(Call(0, "r0", "a", work), CallFailed(0, MemoryError(), final=False))
    tally.answered(Call(1, "r0", "a", Open()), CallDone(1, None, 1.0))
    assert (tally.pairs, tally.seconds_left()) == (0, None)


@pytest.mark.parametrize("late", [False, True])
def test_a_frame_that_fails_leaves_nothing_to_do_even_if_a_call_is_answered_late(late: bool) -> None:
    tally = Tally(n_frames=1, n_pairs=10)
    measure(tally, "a", 3)
    tally.ended(failed("a"))
    if late:
        tally.answered(Call(9, "r0", "a", Measure(request(ARM, PAIRS[:3]))), CallDone(9, [], 1.0))
    assert (tally.pairs, tally.done, tally.failed) == (10, 0, 1)
    assert tally.seconds_left() == 0
    assert str(tally) == "1/1 frames, 1 failed, 10/10 pairs"


def test_the_time_left_is_that_of_the_pairs_left_shared_among_the_replicas() -> None:
    tally = Tally(n_frames=2, n_pairs=10, n_replicas=lambda: 2)
    assert tally.seconds_left() is None
    measure(tally, "a", 4, seconds=20.0)
    assert tally.seconds_left() == 16 * (20 / 4) / 2
    assert str(tally) == "0/2 frames, 4/20 pairs, about 0:00:40 left"


def test_a_fit_is_timed_between_what_it_reports() -> None:
    clock = Clock()
    tally = Tally(n_frames=1, n_pairs=10, n_fits=1, fit_iterations=100, clock=clock)
    tally.called(Call(0, "r0", "a", Fit()))
    tally.fitting("a", fit_progress(10))
    assert tally.seconds_left() is None
    clock.now += 5.0
    tally.fitting("a", fit_progress(30))
    assert (tally.iterations, tally.n_iterations) == (30, 100)
    assert tally.seconds_left() == 70 * 5.0 / 20, "what pairs take, nobody knows yet: they are left out"
    tally.fitted("a", b"")
    measure(tally, "a", 1, seconds=2.0)
    assert tally.iterations == 100
    assert tally.seconds_left() == 9 * 2.0


def test_the_time_left_is_that_of_fits_and_pairs() -> None:
    clock = Clock()
    tally = Tally(n_frames=2, n_pairs=10, n_fits=1, fit_iterations=100, clock=clock)
    measure(tally, "b", 10, seconds=10.0)
    tally.called(Call(0, "r0", "a", Fit()))
    for iteration in (0, 50):
        tally.fitting("a", fit_progress(iteration))
        clock.now += 25.0
    assert tally.seconds_left() == 10 * 1.0 + 50 * 0.5


def test_a_fit_that_starts_anew_elsewhere_is_not_counted_backwards() -> None:
    clock = Clock()
    tally = Tally(n_frames=1, n_pairs=1, n_fits=1, fit_iterations=100, clock=clock)
    measure(tally, "a", 1)
    tally.called(Call(0, "r0", "a", Fit()))
    for iteration in (10, 20, 0, 10):
        tally.fitting("a", fit_progress(iteration))
        clock.now += 1.0
    assert tally.seconds_left() == 90 * (2 / 20)


@pytest.mark.parametrize("iterations", [None, 30])
def test_a_fit_that_fails_leaves_no_iterations_to_do(iterations: int | None) -> None:
    tally = Tally(n_frames=2, n_pairs=10, n_fits=1, fit_iterations=100)
    tally.called(Call(0, "r0", "a", Fit()))
    if iterations:
        tally.fitting("a", fit_progress(iterations))
    tally.ended(failed("a"))
    tally.ended(failed("b"))  # it has its encoder
    assert tally.iterations == tally.n_iterations == 100
    assert tally.fits == {}


def test_a_frame_that_was_fitted_counts_its_iterations_once() -> None:
    tally = Tally(n_frames=1, n_pairs=10, n_fits=1, fit_iterations=100)
    tally.called(Call(0, "r0", "a", Fit()))
    tally.fitted("a", b"")
    tally.ended(done("a"))
    assert tally.iterations == 100


# --- shown


def play(shown: Lines, *ended: FrameEnded) -> None:
    shown.called(Call(0, "r0", "[b]", Fit()))
    shown.fitting("[b]", fit_progress(30))
    shown.fitted("[b]", b"")
    call = Call(1, "r0", "[b]", Measure(request(ARM, PAIRS)))
    shown.called(call)
    shown.answered(call, CallDone(1, [], 1.0))
    for frame in ended:
        shown.ended(frame)


def test_lines_say_what_was_fitted_done_and_failed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sweep")
    play(Lines(Tally(3, 10, 1, 100)), done("[b]"), failed("c"))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "frame [b]: fitted, phase 1 30/100, 30.00 dB, 0.500 bpp"),
        ("INFO", "frame [b]: done by r0, r1 in 4.5 s of replica time"),
        ("ERROR", "frame c: failed: c.png: empty"),
    ]


def test_a_line_of_a_command_without_a_pool_names_no_replica(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sweep")
    ended = done("a.png")
    rows = [row._replace(replica=LOCAL_REPLICA) for row in ended.rows]
    Lines(Tally(1, 10, 0, 0)).ended(ended._replace(rows=rows))
    assert [record.message for record in caplog.records] == ["frame a.png: done in 4.5 s"]


def test_a_line_every_so_often_says_how_far_the_job_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    caplog.set_level(logging.INFO, "sweep")
    shown = Lines(Tally(3, 10, 1, 100, clock=clock))
    shown.called(Call(0, "r0", "b", Fit()))
    for iteration in (1, 2, 3):
        clock.now += 6.0
        shown.fitting("b", fit_progress(iteration))
        shown.waited()
    assert [record.message for record in caplog.records] == [
        "0/3 frames, 0/30 pairs, 2/100 iterations, about 0:09:48 left; b phase 1 2/100, 30.00 dB, 0.500 bpp"
    ]


@pytest.fixture
def terminal() -> Iterator[Console]:
    with io.StringIO() as file:
        yield Console(file=file, force_terminal=True, width=200, color_system=None)


def test_a_terminal_gets_a_bar_with_names_as_they_are(terminal: Console) -> None:
    with show(Tally(2, 10, 1, 100), terminal) as shown:
        assert isinstance(shown, Bar)
        shown.fitting("[b]", fit_progress(30))
        shown.waited()
        bar = shown._bar
        bar.refresh()
    assert "[b] phase 1 30/100" in terminal.file.getvalue()  # type: ignore[attr-defined]
    assert bar.tasks[0].completed == pytest.approx((0 + 0.3) / 2)


def test_everything_else_gets_lines() -> None:
    with show(Tally(1, 10), Console(file=io.StringIO())) as shown:
        assert type(shown) is Lines


@pytest.mark.parametrize("name", ["sweep.driver", "workers.fit"])
def test_what_this_program_logs_is_shown_and_nothing_is_left_behind(terminal: Console, name: str) -> None:
    plain = Console(file=io.StringIO(), width=200)
    for console in (plain, terminal):
        with logging_to(console):
            logging.getLogger(name).info("frame [b]: done")
            logging.getLogger(name).debug("a detail")
            logging.getLogger("other").warning("of others")
        logging.getLogger(name).info("later")
        written = console.file.getvalue()  # type: ignore[attr-defined]
        assert "frame [b]: done" in written
        assert written.count("\n") == 1
