"""The choice of a pair: exact, and honest about what is too close to call."""

import math
from functools import partial

import pytest

from sweep.search.winner import argmin, near_ties, winner
from tests.cases import ARM
from workers.candidates import Candidate, Counts, Measured, Measurement, QStepPair, Status
from workers.errors import InfeasibleModuleError
from workers.measure import ErrorBound

BOUND = ErrorBound.of_frame(64, 96, "rgb", 8, 1e-3)


def row(loss: float, step: float = 1.0, *, plain: bool = False) -> Measurement:
    measured = Measured(Counts(0, 0), 1, 1, 2, 3.0, 0.1, loss, 0.1)
    candidate = Candidate(ARM, QStepPair(step, 1.0))
    return Measurement(candidate, "ok", measured, "plain" if plain else "staged")


def unmeasured(status: Status) -> Measurement:
    return Measurement(Candidate(ARM, QStepPair(1.0, 1.0)), status)


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
    assert near_ties([row(loss), best, row(loss)], BOUND) == []


def test_a_module_without_a_finite_loss_is_named_with_what_became_of_its_pairs() -> None:
    rows = [unmeasured("overflow"), unmeasured("non_finite"), unmeasured("overflow")]
    for choose in (argmin, winner, partial(near_ties, bound=BOUND)):
        with pytest.raises(
            InfeasibleModuleError, match=r"^module arm: .*none of its 3 .*\(1 non_finite, 2 overflow\)"
        ):
            choose(rows)


def test_losses_that_two_errors_can_turn_round_are_too_close_to_call() -> None:
    error = BOUND.of(1.0)
    best, inside, outside = row(1.0), row(1.0 + 1.99 * error), row(1.0 + 2.01 * error)
    assert near_ties([outside, inside, unmeasured("overflow"), best], BOUND) == [inside, best]
    assert near_ties([outside, best], BOUND) == []


def test_equal_losses_are_too_close_to_call_even_where_they_are_nothing() -> None:
    rows = [row(0.0, 1.0), row(1e-12), row(1.0), row(0.0, 2.0)]
    assert near_ties(rows, BOUND) == [rows[0], rows[1], rows[3]]


def test_once_they_are_measured_by_the_plain_arithmetic_it_decides_between_them_alone() -> None:
    error = BOUND.of(1.0)
    plain = [row(1.0 + 0.5 * error, 2.0, plain=True), row(1.0, 4.0, plain=True)]
    rows = [row(1.0 + 2.01 * error), *plain]
    assert near_ties(rows, BOUND) == []
    assert winner(rows) is plain[1]


def test_where_the_plain_arithmetic_finds_more_than_the_bound_allows_those_that_come_near_are_measured_too() -> (
    None
):
    error = BOUND.of(1.0)
    staged = [row(1.0 + 5 * error), row(1.0 + 50 * error)]
    plain = [row(1.0 + 6 * error, 2.0, plain=True), row(1.0 + 7 * error, 4.0, plain=True)]
    assert near_ties([*staged, *plain], BOUND) == staged[:1]


def test_pairs_stand_for_themselves_where_there_are_no_near_ties() -> None:
    rows = [row(3.0), row(2.0), unmeasured("overflow")]
    assert winner(rows) is rows[1]
