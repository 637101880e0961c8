"""The grid of quantization steps: pairs as data."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from workers.candidates import KINDS, Kind, QStepPair
from workers.codec.family import FAMILIES, modules
from workers.codec.network import NetworkSpec

Grid = Mapping[str, tuple[QStepPair, ...]]
"""Per network, by its id or by its module alone, its pairs in grid order: weights in the outer loop, biases in the
inner one, both ascending."""

AUTO = "auto"
"""The grid of the encoder's family."""

DEFAULT_GRID = "coolchic-3.4"


def make_grid(steps: Mapping[str, Mapping[str, Iterable[float]]]) -> Grid:
    """Pairs of the networks of a family, or of several.

    Args:
        steps: per network (``arm``, or ``residue.arm``) and kind (``weight``, ``bias``), the steps, each an exact
            power of two: lists, arrays or whatever gives numbers.

    Raises:
        ValueError: a network or kind is missing or unknown, a list is empty or repeats itself, or a step is no
            power of two, so that a division by it would not be exact.
    """
    _check_names(steps)
    return {name: _pairs(name, steps[name]) for name in sorted(steps)}


def as_grid(grid: Mapping[str, Iterable[Iterable[float]]]) -> Grid:
    """A grid whose pairs are given in any form: a list, a generator, an array of two columns.

    Raises:
        ValueError: a network is missing or unknown, or has no pairs, or what is given is no pair of numbers.
    """
    _check_names(grid)
    pairs = {name: tuple(_pair(name, pair) for pair in grid[name]) for name in grid}
    if empty := [name for name, of_network in pairs.items() if not of_network]:
        raise ValueError(f"{', '.join(empty)}: at least one pair; found none")
    return pairs


def _check_names(networks: Iterable[str]) -> None:
    """Raise ``ValueError`` unless these are the networks of one family at least, and of families alone."""
    found = sorted(networks)
    given = {name.rpartition(".")[2] for name in found}
    complete = any(FAMILIES[name].required_modules <= given for name in FAMILIES)
    if not complete or not given <= set(modules()):
        accepted = " or ".join(str(sorted(FAMILIES[name].networks)) for name in FAMILIES)
        raise ValueError(f"a grid has the modules {accepted}; found {found}")


def _pairs(
    name: str, steps: Mapping[str, Iterable[float]] | Mapping[Kind, tuple[float, ...]]
) -> tuple[QStepPair, ...]:
    if set(steps) != set(KINDS):
        raise ValueError(f"{name}: a module has the kinds {sorted(KINDS)}; found {sorted(steps)}")
    of_kind = {kind: _numbers(f"{name}.{kind}", given) for kind, given in steps.items()}
    for kind, values in of_kind.items():
        if not values or len(set(values)) != len(values):
            raise ValueError(f"{name}.{kind}: at least one step, none twice; found {values}")
        for value in values:
            if not (math.isfinite(value) and value > 0 and math.frexp(value)[0] == 0.5):
                raise ValueError(f"{name}.{kind}: a step is a power of two; found {value}")
            if not -64 <= math.log2(value) <= 64:
                raise ValueError(f"{name}.{kind}: a step is 2^-64 to 2^64; found {value}")
    return tuple(QStepPair(*pair) for pair in product(sorted(of_kind["weight"]), sorted(of_kind["bias"])))


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
    """Pairs of the default grid of a family.

    Raises:
        KeyError: there is no such family.
    """
    return {module: _pairs(module, rule.steps) for module, rule in FAMILIES[name].networks.items()}


def default_steps(family: str) -> dict[str, dict[str, list[float]]]:
    """Steps of the default grid of a family, by module and kind; none for one that is not known here."""
    rules = FAMILIES[family].networks if family in FAMILIES else {}
    return {module: {kind: list(rule.steps[kind]) for kind in KINDS} for module, rule in rules.items()}


def usual_pairs(grid: Grid) -> int:
    """Number of pairs of a frame of the first family: what is expected of a frame that has not been opened."""
    rules = FAMILIES[next(iter(FAMILIES))].networks
    return sum(len(grid.get(module) or _pairs(module, rule.steps)) for module, rule in rules.items())


def pairs_of(networks: Sequence[NetworkSpec], grid: Grid) -> Grid:
    """Pairs of every network of a frame encoder, by its id, in the order of the sweep.

    Args:
        networks: in that order.
        grid: their pairs, by id or by module; networks that it does not name have those of their family.
    """
    return {spec.id: grid.get(spec.id) or grid.get(spec.module) or _pairs(spec.id, spec.steps) for spec in networks}
