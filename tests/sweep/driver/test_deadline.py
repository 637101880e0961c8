"""How long a call may take, learnt from those before it."""

import pytest

from sweep.driver.deadline import Deadlines
from sweep.schedule import Call, Fit, Measure, Open
from workers.quantize import QStepPair

PAIRS = tuple(QStepPair(1.0, 2.0**-n) for n in range(10))


def measure(n_pairs: int = 1, pixels: int = 1000, *, plain: bool = False, module: str = "arm") -> Call:
    return Call(0, "r0", "a", Measure(module, PAIRS[:n_pairs], (), plain), pixels)


def test_before_anything_was_measured_a_call_has_ten_times_the_patience() -> None:
    assert Deadlines(60).seconds(measure()) == 600
    assert Deadlines(60).seconds(Call(0, "r0", "a", Open())) == 600


def test_a_call_that_is_always_quick_has_the_patience() -> None:
    deadlines = Deadlines(60)
    deadlines.answered(measure(), 0.01)
    assert deadlines.seconds(measure()) == 60


def test_a_call_has_ten_times_what_the_slowest_of_its_kind_took_for_as_much() -> None:
    deadlines = Deadlines(1)
    for seconds in (3.0, 5.0, 4.0):
        deadlines.answered(measure(2, 1000), seconds)
    assert deadlines.seconds(measure(2, 1000)) == pytest.approx(50)
    assert deadlines.seconds(measure(4, 3000)) == pytest.approx(50 * 2 * 3)


@pytest.mark.parametrize("other", [measure(plain=True), measure(module="synthesis"), Call(0, "r0", "a", Fit())])
def test_calls_of_another_kind_say_nothing(other: Call) -> None:
    deadlines = Deadlines(1)
    deadlines.answered(other, 1000.0)
    assert deadlines.seconds(measure()) == 10
