"""The grid of quantization steps: pairs as data."""

import math
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Literal

from workers.codec import KINDS, MODULES
from workers.quantize import QStepPair

Grid = Mapping[str, tuple[QStepPair, ...]]
"""Per module its pairs in grid order: weights in the outer loop, biases in the inner one, both ascending."""

Mode = Literal["full", "winner"]
"""Whether every pair of a grid is measured in full; or only for as long as it can still win."""


def powers_of_two(lowest: int, highest: int) -> tuple[float, ...]:
    """``2^lowest … 2^highest``, ascending."""
    return tuple(math.ldexp(1.0, exponent) for exponent in range(lowest, highest + 1))


STEPS: Mapping[str, Mapping[str, Mapping[str, tuple[float, ...]]]] = {
    "coolchic-3.4": {
        "arm": {"weight": powers_of_two(-8, 0), "bias": powers_of_two(-16, 0)},
        "synthesis": {"weight": powers_of_two(-12, 0), "bias": powers_of_two(-24, 0)},
        "upsampling": {"weight": powers_of_two(-12, 0), "bias": powers_of_two(0, 0)},
    }
}
"""Steps per module and kind of the grids that have a name."""

DEFAULT_GRID = "coolchic-3.4"


def make_grid(steps: Mapping[str, Mapping[str, Iterable[float]]]) -> Grid:
    """Pairs of every module.

    Args:
        steps: per module and kind, the steps, each an exact power of two: lists, arrays or whatever gives numbers.

    Raises:
        ValueError: a module or kind is missing or unknown, a list is empty or repeats itself, or a step is no
            power of two, so that a division by it would not be exact.
    """
    if set(steps) != set(MODULES):
        raise ValueError(f"a grid has the modules {sorted(MODULES)}; found {sorted(steps)}")
    grid = {}
    for module in sorted(steps):
        if set(steps[module]) != set(KINDS):
            raise ValueError(f"{module}: a module has the kinds {sorted(KINDS)}; found {sorted(steps[module])}")
        of_module = {kind: _numbers(f"{module}.{kind}", given) for kind, given in steps[module].items()}
        for kind, values in of_module.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{module}.{kind}: at least one step, none twice; found {values}")
            for value in values:
                if not (math.isfinite(value) and value > 0 and math.frexp(value)[0] == 0.5):
                    raise ValueError(f"{module}.{kind}: a step is a power of two; found {value}")
                if not -64 <= math.log2(value) <= 64:
                    raise ValueError(f"{module}.{kind}: a step is 2^-64 to 2^64; found {value}")
        grid[module] = tuple(
            QStepPair(weight, bias)
            for weight, bias in product(sorted(of_module["weight"]), sorted(of_module["bias"]))
        )
    return grid


def as_grid(grid: Mapping[str, Iterable[Iterable[float]]]) -> Grid:
    """A grid whose pairs are given in any form: a list, a generator, an array of two columns.

    Raises:
        ValueError: a module is missing or unknown, or has no pairs, or what is given is no pair of numbers.
    """
    if set(grid) != set(MODULES):
        raise ValueError(f"a grid has the modules {sorted(MODULES)}; found {sorted(grid)}")
    pairs = {module: tuple(_pair(module, pair) for pair in grid[module]) for module in grid}
    if empty := [module for module, of_module in pairs.items() if not of_module]:
        raise ValueError(f"{', '.join(empty)}: at least one pair; found none")
    return pairs


def _pair(module: str, given: Iterable[float]) -> QStepPair:
    numbers = _numbers(module, given)
    if len(numbers) != 2:
        raise ValueError(f"{module}: a pair is two numbers, the steps of weights and biases; found {numbers}")
    return QStepPair(*numbers)


def _numbers(name: str, given: Iterable[float]) -> list[float]:
    found: object = given
    try:
        if not isinstance(given, str | bytes):
            found = numbers = list(given)
            return [float(number) for number in numbers]
    except (TypeError, ValueError):  # also an array without dimensions
        pass
    raise ValueError(f"{name}: a list of numbers is accepted; found {found!r}")


def named_grid(name: str = DEFAULT_GRID) -> Grid:
    """Pairs of a grid that has a name.

    Raises:
        KeyError: there is no such grid.
    """
    return make_grid(STEPS[name])
