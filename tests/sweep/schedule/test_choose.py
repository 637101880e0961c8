"""The choice of a pair: exact, and honest about what is too close to call."""

import math

import pytest

from sweep.schedule.choose import argmin, near_ties
from workers.errors import InfeasibleModuleError
from workers.measure import Measured, RDRow, Status
from workers.quantize import Counts, QStepPair


def row(loss: float, step: float = 1.0) -> RDRow:
    return RDRow("arm", QStepPair(step, 1.0), "ok", Measured(Counts(0, 0), 1, 1, 2, 3.0, 0.1, loss))


def unmeasured(status: Status) -> RDRow:
    return RDRow("arm", QStepPair(1.0, 1.0), status)


def test_the_smallest_loss_wins() -> None:
    rows = [unmeasured("overflow"), row(0.5), row(0.25), row(0.75)]
    assert argmin(rows) is rows[2]


def test_the_first_of_equal_losses_wins() -> None:
    rows = [row(0.5), row(0.25, 1.0), row(0.25, 2.0)]
    assert argmin(rows) is rows[1]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_never_wins_wherever_it_stands(loss: float) -> None:
    best = row(0.25)
    assert argmin([row(loss), best, row(loss)]) is best
    assert near_ties([row(loss), best, row(loss)]) == []


def test_a_module_without_a_finite_loss_is_named_with_what_became_of_its_pairs() -> None:
    rows = [unmeasured("overflow"), unmeasured("non_finite"), unmeasured("overflow")]
    for choose in (argmin, near_ties):
        with pytest.raises(
            InfeasibleModuleError, match=r"^module arm: .*none of its 3 .*\(1 non_finite, 2 overflow\)"
        ):
            choose(rows)


def test_losses_within_a_ten_thousandth_of_the_best_are_too_close_to_call() -> None:
    best, inside, outside = row(1.0), row(1.0 + 0.99e-4), row(1.0 + 1.01e-4)
    assert near_ties([outside, inside, unmeasured("overflow"), best]) == [inside, best]
    assert near_ties([outside, best]) == []


def test_equal_losses_are_too_close_to_call_even_where_they_are_nothing() -> None:
    rows = [row(0.0, 1.0), row(1e-12), row(0.0, 2.0)]
    assert near_ties(rows) == [rows[0], rows[2]]
