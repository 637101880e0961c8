import math

import numpy as np
import pandas as pd
import pytest

from sweep.config import as_grid, make_grid, named_grid
from workers.candidates import QStepPair
from workers.codec.network import powers_of_two

SMALL = {
    "arm": {"weight": [0.25, 0.5], "bias": [1.0]},
    "synthesis": {"weight": [1.0], "bias": [0.5]},
    "upsampling": {"weight": [2.0], "bias": [1.0]},
}


def test_the_grid_of_the_format_has_491_pairs() -> None:
    assert {module: len(pairs) for module, pairs in named_grid().items()} == {
        "arm": 153,
        "synthesis": 325,
        "upsampling": 13,
    }


@pytest.mark.parametrize(
    ("module", "weights", "biases"),
    [
        ("arm", range(-8, 1), range(-16, 1)),
        ("synthesis", range(-12, 1), range(-24, 1)),
        ("upsampling", range(-12, 1), range(1)),
    ],
)
def test_a_module_s_weights_are_in_the_outer_loop_and_its_biases_in_the_inner_one(
    module: str, weights: range, biases: range
) -> None:
    expected = [(2.0**weight, 2.0**bias) for weight in weights for bias in biases]

    assert list(named_grid("coolchic-3.4")[module]) == expected


def test_steps_given_in_any_order_make_a_grid_in_ascending_order_of_modules_and_steps() -> None:
    steps = {
        "upsampling": {"bias": [1.0], "weight": [0.5]},
        "synthesis": {"bias": [4.0, 1.0], "weight": [2.0, 0.25]},
        "arm": {"bias": [1], "weight": [1]},
    }

    grid = make_grid(steps)

    assert list(grid) == ["arm", "synthesis", "upsampling"]
    assert grid["synthesis"] == (QStepPair(0.25, 1), QStepPair(0.25, 4), QStepPair(2, 1), QStepPair(2, 4))


def test_powers_of_two_include_both_ends() -> None:
    assert powers_of_two(-2, 1) == (0.25, 0.5, 1, 2)


@pytest.mark.parametrize("step", [0.3, 3.0, 0.0, -0.5, math.inf, math.nan])
def test_a_step_that_is_no_power_of_two_is_refused(step: float) -> None:
    with pytest.raises(ValueError, match=rf"^arm\.bias: a step is a power of two; found {step}$"):
        make_grid(SMALL | {"arm": {"weight": [0.25], "bias": [1.0, step]}})


@pytest.mark.parametrize("step", [2.0**-65, 2.0**65])
def test_a_step_by_which_division_might_not_be_exact_is_refused(step: float) -> None:
    with pytest.raises(ValueError, match=r"^arm\.weight: a step is 2\^-64 to 2\^64"):
        make_grid(SMALL | {"arm": {"weight": [step], "bias": [1.0]}})


@pytest.mark.parametrize("steps", [[0.5, 0.25, 0.5], []])
def test_steps_that_repeat_themselves_or_are_none_are_refused(steps: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^synthesis\.weight: at least one step, none twice"):
        make_grid(SMALL | {"synthesis": {"weight": steps, "bias": [1.0]}})


@pytest.mark.parametrize("modules", [["arm", "synthesis"], ["arm", "synthesis", "upsampling", "arm2"]])
def test_a_grid_is_for_the_three_modules(modules: list[str]) -> None:
    with pytest.raises(
        ValueError, match=r"a grid has the modules \['arm', 'synthesis', 'upsampling'\] or .*; found"
    ):
        make_grid(dict.fromkeys(modules, SMALL["arm"]))


@pytest.mark.parametrize("kinds", [["weight"], ["weight", "bias", "gain"]])
def test_a_module_has_steps_of_both_kinds(kinds: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^upsampling: a module has the kinds \['bias', 'weight'\]; found"):
        make_grid(SMALL | {"upsampling": {kind: [1.0] for kind in kinds}})


def test_a_grid_that_has_no_name_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"coolchic-9"):
        named_grid("coolchic-9")


def test_steps_may_come_in_any_form() -> None:
    steps = {
        "arm": {"weight": np.array([0.5, 0.25]), "bias": pd.Series([1])},
        "synthesis": {"weight": {1.0}, "bias": (step for step in (0.5,))},
        "upsampling": {"weight": pd.Index([2.0]), "bias": (1,)},
    }
    assert make_grid(steps) == make_grid(SMALL)


@pytest.mark.parametrize("steps", ["0.5", 0.5, ["x"], [None], np.array(0.5)], ids=repr)
def test_steps_that_are_no_list_of_numbers_are_refused(steps: object) -> None:
    with pytest.raises(ValueError, match=r"^arm.weight: a list of numbers is accepted; found "):
        make_grid(SMALL | {"arm": {"weight": steps, "bias": [1.0]}})  # type: ignore[dict-item]


def test_pairs_may_come_in_any_form() -> None:
    grid = make_grid(SMALL)
    for form in (list, np.array, iter, lambda pairs: pd.DataFrame(pairs).to_numpy()):
        assert as_grid({module: form(pairs) for module, pairs in grid.items()}) == grid


def test_pairs_that_are_none_are_refused() -> None:
    grid = make_grid(SMALL)
    for wrong, message in (
        ({"arm": grid["arm"]}, "a grid has the modules"),
        (grid | {"arm": []}, "arm: at least one pair"),
        (grid | {"arm": [(1.0, 2.0, 3.0)]}, "arm: a pair is two numbers"),
        (grid | {"arm": [1.0]}, "arm: a list of numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            as_grid(wrong)  # type: ignore[arg-type]
