"""How long a call may take, learnt from those that can be compared with it and from no others."""

import pytest

from sweep.driver import deadline
from sweep.driver.deadline import Deadlines, WatchedTime
from sweep.schedule import Call, Encode, Fit, Measure, Open, Quantize, Work
from tests.cases import ARM, SYNTHESIS
from tests.making import request
from workers.candidates import Candidate, Measurement, QStepPair, Status

PAIRS = tuple(QStepPair(1.0, 2.0**-n) for n in range(100))
SMALL, LARGE = 64 * 96, 3840 * 2160
PATIENCE = 60.0


def call(work: Work, pixels: int = SMALL, *, frame: str = "a", replica: str = "r0", number: int = 0) -> Call:
    return Call(number, replica, frame, work, pixels)


def measure(n_pairs: int = 10, *, plain: bool = False, network: str = ARM) -> Measure:
    return Measure(request(network, PAIRS[:n_pairs], plain=plain))


def rows(*status: Status) -> list[Measurement]:
    return [Measurement(Candidate(ARM, pair), each) for pair, each in zip(PAIRS, status, strict=False)]


@pytest.fixture
def deadlines() -> Deadlines:
    """Of replicas ``r0`` and ``r1`` on one device and ``slow`` on another, that all hold a small frame ``a``."""
    deadlines = Deadlines(PATIENCE)
    for replica, device in (("r0", "fast"), ("r1", "fast"), ("slow", "slow")):
        deadlines.joined(replica, device)
        deadlines.answered(call(Open(), 0, replica=replica), 0.01)
    return deadlines


# --- what is known of a call


def test_a_call_that_is_always_quick_has_the_patience(deadlines: Deadlines) -> None:
    deadlines.answered(call(measure()), 0.01)
    assert deadlines.seconds(call(measure())) == PATIENCE


def test_a_call_has_ten_times_what_the_slowest_of_its_kind_took_for_as_much(deadlines: Deadlines) -> None:
    for seconds in (20.0, 30.0, 10.0):
        deadlines.answered(call(measure(10)), seconds)
    assert deadlines.seconds(call(measure(10))) == pytest.approx(300)
    assert deadlines.seconds(call(measure(40))) == pytest.approx(1200)
    assert deadlines.seconds(call(measure(1))) == pytest.approx(300), "what the pairs share may have taken it all"


def test_what_is_learnt_on_a_replica_holds_for_the_others_of_its_device(deadlines: Deadlines) -> None:
    deadlines.answered(call(measure()), 0.01)
    assert deadlines.seconds(call(measure(), replica="r1")) == PATIENCE


def test_pairs_that_took_no_time_say_nothing(deadlines: Deadlines) -> None:
    deadlines.answered(call(measure(10)), 0.01, rows(*["overflow"] * 10))
    assert deadlines.seconds(call(measure(10))) == 10 * PATIENCE
    deadlines.answered(call(measure(10)), 8.0, rows("ok", "non_finite", *["pruned"] * 6, "overflow", "overflow"))
    assert deadlines.seconds(call(measure(10))) == pytest.approx(10 * 10 * 4.0)


# --- what says nothing about it


FIRST: dict[str, tuple[Call, Call]] = {
    "plain": (call(measure(plain=True)), call(measure())),
    "another network": (call(measure(network=SYNTHESIS)), call(measure())),
    "another work": (call(Quantize(())), call(Encode((), "qsw"))),
    "a larger frame": (call(measure()), call(measure(), LARGE)),
    "a smaller frame": (call(measure(), LARGE), call(measure())),
    "a slower device": (call(measure()), call(measure(), replica="slow")),
    "a faster device": (call(measure(), replica="slow"), call(measure())),
    "a frame to load": (call(measure()), call(measure(), frame="b")),
    "a fit of unknown size": (call(Fit(), 0), call(Fit(), 0, number=1)),
    "an open of unknown size": (call(Open(), 0), call(Open(), 0, number=1)),
}


@pytest.mark.parametrize("seconds", [0.01, 1e5])
@pytest.mark.parametrize("kind", FIRST)
def test_the_first_call_of_a_kind_is_not_judged_by_those_of_another(
    deadlines: Deadlines, kind: str, seconds: float
) -> None:
    other, first = FIRST[kind]
    for _ in range(3):
        deadlines.answered(other, seconds)
        deadlines.answered(call(Open(), 0), 0.01)
    assert deadlines.seconds(first) >= 10 * PATIENCE
    assert deadlines.seconds(first) <= 10 * PATIENCE * max(1.0, first.pixels * 10 / 1e8)


def test_a_large_frames_fit_outlives_what_a_small_frames_taught(deadlines: Deadlines) -> None:
    small, large = call(Fit(), 0), call(Fit(), 0, frame="large", number=1)
    for _ in range(100):
        deadlines.answered(small, 0.05)
    assert deadlines.seconds(small) == PATIENCE, "it is known to report often"
    # Two minutes to read, initialize and validate, and then one for every iteration.
    assert deadlines.seconds(large) >= 5 * 120
    deadlines.answered(large, 120.0)
    for _ in range(10):
        assert deadlines.seconds(large) >= 5 * 60
        deadlines.answered(large, 60.0)
    deadlines.answered(small, 0.05)
    assert deadlines.seconds(small) == PATIENCE, "nor does the large one say anything of the small one"


def test_a_first_call_over_many_pixels_and_pairs_has_time_for_them(deadlines: Deadlines) -> None:
    few, many = call(measure(1), LARGE), call(measure(100), LARGE)
    assert deadlines.seconds(few) == 10 * PATIENCE
    assert deadlines.seconds(many) == pytest.approx(10 * PATIENCE * LARGE * 100 / 1e8)


def test_the_first_call_of_a_process_has_time_to_prepare_its_device(deadlines: Deadlines) -> None:
    deadlines.answered(call(measure()), 0.01)
    deadlines.left("r1")
    deadlines.joined("r2", "fast")
    assert deadlines.seconds(call(measure(), replica="r2")) == 10 * PATIENCE
    deadlines.answered(call(Open(), 0, replica="r2"), 0.01)
    assert deadlines.seconds(call(measure(), replica="r2")) == PATIENCE


# --- frames that are read from a slow store


def test_a_call_that_may_have_to_load_its_frame_has_the_stores_time_beside_its_own(deadlines: Deadlines) -> None:
    opens = call(Open(), 0)
    assert deadlines.seconds(opens, loading=360) == deadlines.seconds(opens) + 360
    deadlines.answered(call(measure()), 0.01)
    assert deadlines.seconds(call(measure()), loading=360) == PATIENCE, "the replica holds the frame"
    other = call(measure(), frame="b")
    deadlines.answered(other, 0.01)
    deadlines.answered(call(measure()), 0.01)
    assert deadlines.seconds(other, loading=360) == PATIENCE + 360
    fit = call(Fit(), 0, number=1, replica="slow", frame="c")
    assert deadlines.seconds(fit, loading=360) == 10 * PATIENCE + 360
    deadlines.answered(fit, 1.0)
    assert deadlines.seconds(fit, loading=360) == 10 * PATIENCE, "it has begun, so the frame is there"


# --- after a replica was given up


def test_what_hung_has_more_time_at_every_try(deadlines: Deadlines) -> None:
    first = call(Fit(), 0, frame="large")
    granted = []
    for number in range(4):
        again = call(Fit(), 0, frame="large", replica=f"r{number}", number=number)
        granted.append(deadlines.seconds(again))
        deadlines.hung(again)
    assert granted == [10 * PATIENCE * 4**n for n in range(4)]
    assert deadlines.seconds(first._replace(frame="another")) == 10 * PATIENCE
    assert deadlines.seconds(call(measure(), frame="large")) == 10 * PATIENCE


def test_a_device_that_got_slow_is_known_for_it_after_one_call(deadlines: Deadlines) -> None:
    deadlines.answered(call(measure()), 0.01)
    deadlines.hung(call(measure()))
    assert deadlines.seconds(call(measure())) == 4 * PATIENCE
    deadlines.answered(call(measure()), 200.0)
    deadlines.answered(call(Open(), 0, frame="b"), 0.01)
    assert deadlines.seconds(call(measure(), frame="b")) == 10 * 200.0


# --- what is remembered


def test_what_is_remembered_is_bounded(deadlines: Deadlines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "_MOST_KEPT", 10)
    for number in range(100):
        deadlines.answered(call(Fit(), 0, number=number), 1.0)
        deadlines.hung(call(Fit(), 0, frame=f"f{number}"))
        deadlines.answered(call(measure()), 0.01)
    assert len(deadlines._paces) == len(deadlines._killed) == 10
    assert deadlines.seconds(call(measure())) == PATIENCE, "what is in use is not forgotten"


# --- the clock


def test_time_in_which_the_driver_was_stopped_is_not_the_replicas() -> None:
    now = 100.0
    watched = WatchedTime(lambda: now)
    for _ in range(5):
        now += 2.0
        watched()
    assert watched() == 10.0
    now += 3600
    assert watched() == 20.0
    now += 1.5
    assert watched() == 21.5


def test_after_a_start_that_took_too_long_others_may_take_longer() -> None:
    """A machine that is busy is slow for all of them, and a short patience says nothing about starts."""
    assert [Deadlines(3.0).start_seconds(n_hung) for n_hung in range(5)] == [30, 120, 480, 600, 600]
    assert [Deadlines(60.0).start_seconds(n_hung) for n_hung in range(2)] == [600, 600]
    assert Deadlines(90.0).start_seconds(3) == 900
