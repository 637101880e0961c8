"""Contests among candidates whose parts are plain numbers."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workers.candidates import QStepPair
from workers.measure.contest import Contender, Contest
from workers.measure.cost import Parameters, Sums
from workers.measure.parallel import Threads


class Numbers:
    """A cost whose parts are given: ``parts[tile][candidate]``; it counts what it is asked for."""

    parallel = True

    def __init__(self, parts: Sequence[Sequence[float]], poll: Sequence[int] = (0,)) -> None:
        self.tiles = list(range(len(parts)))
        self.poll = poll
        self._parts = torch.tensor(parts, dtype=torch.float64)
        self.asked: list[tuple[int, int]] = []

    def evaluator(self, candidates: Sequence[Parameters]) -> Callable[[int], Tensor]:
        indices = [int(candidate["index"]) for candidate in candidates]

        def evaluate(tile: int) -> Tensor:
            self.asked += [(tile, index) for index in indices]
            return self._parts[tile, indices][:, None]

        return evaluate


def loss(total: Sums, rate_nn_bit: float) -> float:
    return sum(total) + 0.5 * rate_nn_bit


NEAR_TIE = 1e-4
"""Of these contests: losses within this fraction of the best may beat it."""


def limit(best: float) -> float:
    return best * (1 + NEAR_TIE)


def candidates_of(bits: Sequence[int]) -> list[Contender]:
    made = [Contender({"index": torch.tensor(index)}, (0.0,)) for index in range(len(bits))]
    for candidate, rate_nn_bit in zip(made, bits, strict=True):
        candidate.add(QStepPair(1.0, 1.0), rate_nn_bit)
    return made


def decide(
    parts: Sequence[Sequence[float]],
    bits: Sequence[int],
    best: float = math.inf,
    n_groups: int = 2,
    poll: Sequence[int] = (0,),
) -> tuple[list[Contender], Numbers, float]:
    candidates, numbers = candidates_of(bits), Numbers(parts, poll)
    groups = [candidates[i::n_groups] for i in range(n_groups)]
    expected = [row[0] if math.isfinite(row[0]) else 0.0 for row in parts]
    known = Contest(numbers, [group for group in groups if group], loss, limit, Threads(1)).decide(best, expected)
    return candidates, numbers, known


parts_and_bits = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(st.floats(0, 100), min_size=n, max_size=n), min_size=1, max_size=60),
        st.lists(st.integers(0, 1000), min_size=n, max_size=n),
        st.integers(1, 3),
        st.sets(st.integers(0, 59)),
    )
)


@given(parts_and_bits)
def test_a_contest_keeps_whoever_can_win_and_never_says_too_much_of_the_others(
    case: tuple[list[list[float]], list[int], int, set[int]],
) -> None:
    parts, bits, n_groups, polled = case

    candidates, _, known = decide(parts, bits, n_groups=n_groups, poll=[i for i in polled if i < len(parts)])

    losses = [loss(column, n) for column, n in zip(zip(*parts, strict=True), bits, strict=True)]
    best = min(losses)
    assert known == pytest.approx(best)
    for candidate, full in zip(candidates, losses, strict=True):
        found = loss(candidate.total, candidate.rate_nn_bit)
        if candidate.complete:
            assert found == pytest.approx(full)
        else:
            assert best * (1 + NEAR_TIE) <= found * (1 + 1e-12)
            assert found <= full * (1 + 1e-12)


def test_whoever_is_behind_after_the_first_tiles_is_not_evaluated_any_further() -> None:
    parts = [[1.0, 100.0, 1.0]] * 160

    candidates, numbers, _ = decide(parts, [0, 0, 500])

    assert [candidate.complete for candidate in candidates] == [True, False, False]
    assert sum(index == 1 for _, index in numbers.asked) < 20
    # Its network alone costs more than all that the best one costs, which is known after the first round.
    assert sum(index == 2 for _, index in numbers.asked) < 20


def test_whoever_leads_in_the_poll_is_evaluated_first_and_cuts_the_others() -> None:
    # The heaviest tiles speak for the second candidate, the polled one for the first, which is the best.
    parts = [[10.0, 9.0]] * 10 + [[1.0, 100.0]] * 20

    candidates, numbers, _ = decide(parts, [0, 0], poll=[15])

    assert [candidate.complete for candidate in candidates] == [True, False]
    assert [index for _, index in numbers.asked[2:31]] == [0] * 29


def test_a_loss_that_is_known_already_cuts_whoever_cannot_beat_it_before_anything_is_evaluated() -> None:
    candidates, numbers, known = decide([[1.0, 1.0]] * 4, [10, 10], best=4.9)

    assert numbers.asked == []
    assert not any(candidate.complete for candidate in candidates)
    assert known == 4.9


def test_near_ties_of_the_best_are_evaluated_to_the_end() -> None:
    parts = [[1.0, 1.0 + 0.9 * NEAR_TIE, 1.5]] * 50

    candidates, _, _ = decide(parts, [0, 0, 0])

    assert [candidate.complete for candidate in candidates] == [True, True, False]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_found_out_as_such_and_cuts_nobody(value: float) -> None:
    parts = [[1.0, 1.0, 2.0]] * 40
    parts[0] = [value, 1.0, 2.0]

    candidates, _, known = decide(parts, [0, 0, 0])

    assert [candidate.complete for candidate in candidates] == [True, True, False]
    assert not math.isfinite(sum(candidates[0].total))
    assert known == 40.0


def test_tiles_that_add_nothing_at_all_decide_nothing() -> None:
    candidates, _, known = decide([[0.0, 0.0]] * 20, [3, 1])

    assert candidates[1].complete
    assert known == 0.5


def test_a_candidate_is_judged_by_the_cheapest_of_its_pairs() -> None:
    (candidate,) = candidates_of([7])
    candidate.add(QStepPair(0.5, 1.0), 3)

    assert candidate.rate_nn_bit == 3
    assert candidate.pairs == [(1.0, 1.0), (0.5, 1.0)]


def test_in_full_everything_is_evaluated_once() -> None:
    parts = [[1.0, 100.0], [2.0, 200.0]]
    candidates, numbers = candidates_of([0, 0]), Numbers(parts)

    Contest(numbers, [candidates[:1], candidates[1:]], loss, limit, Threads(2)).complete()

    assert sorted(numbers.asked) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [candidate.total for candidate in candidates] == [(3.0,), (300.0,)]
    assert all(candidate.complete for candidate in candidates)
